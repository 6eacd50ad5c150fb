// SPDX-License-Identifier: Apache-2.0
// The console page, as a person uses it, on a desk and on a phone.

import { statSync } from 'node:fs';
import { join } from 'node:path';
import { atLeast, check, directory, equal, test, until } from './harness.mjs';
import { openPage } from './browser.mjs';
import { publishRtmp } from './media.mjs';
import { freshName, sharedNode } from './node.mjs';

const desk = { viewport: { width: 1280, height: 800 } };
const phone = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };

const playing = (page) => page.evaluate(() => {
  const video = document.getElementById('watch-video');
  return { time: video.currentTime, width: video.videoWidth, frames: video.getVideoPlaybackQuality().totalVideoFrames };
});

async function checkPlays(page) {
  const from = await until('a picture', async () => {
    const now = await playing(page);
    return now.width === 640 && now.frames > 0 && now;
  });
  await until('the picture moves', async () => {
    const now = await playing(page);
    return now.frames > from.frames + 30 && now.time > from.time + 0.5;
  });
}

async function checkLayout(page) {
  const { scroll, client } = await page.evaluate(() => ({
    scroll: document.documentElement.scrollWidth, client: document.documentElement.clientWidth,
  }));
  equal(scroll, client, 'width of what scrolls');
}

for (const [what, device] of [['desk', desk], ['phone', phone]]) {
  for (const protocol of ['whep', 'flv']) {
    test(`watching by ${protocol} at a ${what}`, async (t) => {
      const node = await sharedNode();
      const name = freshName('page');
      await publishRtmp(t, node, name);
      const page = await openPage(t, node, '/', device);
      if (protocol === 'flv') await page.selectOption('#watch-protocol', 'flv');
      const row = page.locator(`#list li[data-name="${name}"] button`);
      await row.waitFor({ timeout: 10000 });
      await row.click();
      await checkPlays(page);
      await page.locator('#watch-stats >> text=First picture').waitFor({ timeout: 5000 });
      await checkLayout(page);
      const picture = join(directory, `page-${what}-${protocol}.png`);
      await page.screenshot({ path: picture });
      atLeast(statSync(picture).size, 10000, 'bytes of the screenshot');
      await page.click('#watch-go');
      equal(page.problems, [], 'errors in the browser console');
    });
  }
}

test('publishing from the camera, and watching that', async (t) => {
  const node = await sharedNode();
  const name = freshName('camera');
  const page = await openPage(t, node, '/#publish');
  await page.fill('#publish-name', name);
  await page.selectOption('#publish-size', '640x480');
  await page.click('#publish-go');
  await page.locator('#publish-badge').waitFor({ timeout: 10000 });
  const viewer = await openPage(t, node, `/?play=${name}`);
  await checkPlays(viewer);
  await page.screenshot({ path: join(directory, 'page-publish.png') });
  await page.click('#publish-go');
  await until('the stream has left the list', async () => !(await node.streams()).some((stream) => stream.name === name && stream.publisher), 15000);
  equal([...page.problems], [], 'errors in the browser console');
});

test('watching a stream that is not there yet begins when it is', async (t) => {
  const node = await sharedNode();
  const name = freshName('later');
  const page = await openPage(t, node, `/?play=${name}`);
  await page.locator('text=Nobody publishes').waitFor({ timeout: 5000 });
  await publishRtmp(t, node, name);
  await checkPlays(page);
});

test('a name that is none is said to be none', async (t) => {
  const page = await openPage(t, await sharedNode(), '/');
  await page.fill('#watch-name', 'no such/name/here');
  await page.click('#watch-go');
  await page.locator('#watch-message.bad').waitFor({ timeout: 3000 });
  check((await page.textContent('#watch-message')).includes('app/stream'), 'says what a name looks like');
});
