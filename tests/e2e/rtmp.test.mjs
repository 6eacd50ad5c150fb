// SPDX-License-Identifier: Apache-2.0
// ffmpeg publishes by RTMP (H.264 and AAC); Chromium plays by WHEP, ffprobe by HTTP-FLV.

import { atLeast, atMost, check, equal, patience, test, until } from './harness.mjs';
import { checkPicture, openPage, playWhep } from './browser.mjs';
import { moreVideo, probe, publishRtmp, pushRtmp, watchFlv } from './media.mjs';
import { freshName, sharedNode, startNode } from './node.mjs';

/* EBU R37 allows 40 ms ahead and 60 behind at a receiver; two clocks of the page are in between */
const SYNC_MS = 100;
const PLAYOUT_MS = 60;
const FIRST_PICTURE_MS = 1500;

test('RTMP to WHEP: picture of the right size, and sound', async (t) => {
  const node = await sharedNode();
  const name = freshName('rtmp');
  await publishRtmp(t, node, name);
  const page = await openPage(t, node);
  const peer = await playWhep(page, node, name);
  const now = await checkPicture(peer, 640, 360);
  await peer.moreSound();
  equal(now.video.mimeType, 'video/H264', 'video codec');
  equal((await peer.look()).audio.mimeType, 'audio/opus', 'audio codec');
  atMost(now.first_ms, FIRST_PICTURE_MS * patience(), 'milliseconds to the first picture');
  t.note(`first picture ${Math.round(now.first_ms)} ms`);
  const later = await peer.moreVideo(60);
  atMost(later.video.freezeCount, Math.floor(patience()), 'freezes');
  equal(later.video.packetsLost + (later.audio?.packetsLost ?? 0), 0, 'packets lost');
  check(later.audio.concealedSamples / later.audio.totalSamplesReceived < 0.2, 'most of the sound is not invented');
});

const nearest = (times, to) =>
  times.reduce((best, time) => (Math.abs(time - to) < Math.abs(best - to) ? time : best), Infinity);

test('RTMP to WHEP: a flash and its beep come together', async (t) => {
  const node = await sharedNode();
  const name = freshName('sync');
  await publishRtmp(t, node, name, { source: 'flash' });
  const peer = await playWhep(await openPage(t, node), node, name);
  await peer.moreVideo(60);
  await peer.observe();
  // Chromium takes some seconds to bring its two buffers together
  const offset = await until('the last five flashes and beeps come together', async () => {
    const { flashes, beeps } = await peer.observed();
    const offsets = flashes.slice(-6, -1).map((flash) => nearest(beeps, flash) - flash).sort((x, y) => x - y);
    return offsets.length === 5 && Math.abs(offsets[2]) < SYNC_MS * patience() && { ms: offsets[2] };
  }, 25000);
  t.note(`beep after flash ${Math.round(offset.ms)} ms`);
}, { timeout_ms: 60000 });

test('RTMP to WHEP: sender reports map both tracks to one clock', async (t) => {
  const node = await sharedNode();
  const name = freshName('ntp');
  await publishRtmp(t, node, name);
  const peer = await playWhep(await openPage(t, node), node, name);
  await peer.moreVideo(60);
  // Chromium moves its two buffers towards each other by small steps
  const offset = await until('the playout timestamps meet', async () => {
    const { video, audio } = await peer.look();
    const ms = video.estimatedPlayoutTimestamp - audio.estimatedPlayoutTimestamp;
    return Math.abs(ms) < PLAYOUT_MS * patience() && { ms };
  }, 20000);
  t.note(`playout timestamps ${Math.round(offset.ms)} ms apart`);
});

test('RTMP to HTTP-FLV: ffprobe reads H.264 and AAC, timestamps go up', async (t) => {
  const node = await sharedNode();
  const name = freshName('flv');
  await publishRtmp(t, node, name);
  const { streams, packets } = await probe(`${node.url}/${name}.flv`, 3);
  const video = streams.find((stream) => stream.codec_type === 'video');
  const audio = streams.find((stream) => stream.codec_type === 'audio');
  equal([video?.codec_name, video?.width, video?.height], ['h264', 640, 360], 'video');
  equal([audio?.codec_name, audio?.sample_rate, audio?.channels], ['aac', '48000', 2], 'audio');
  for (const kind of ['video', 'audio']) {
    const times = packets.filter((packet) => packet.codec_type === kind).map((packet) => Number(packet.dts_time));
    atLeast(times.length, 60, `${kind} packets in 3 s`);
    check(times.every((time, i) => !i || time > times[i - 1]), () => `${kind} timestamps: ${times.join(' ')}`);
    const steps = times.slice(1).map((time, i) => time - times[i]);
    atMost(Math.max(...steps), 0.2 * patience(), `largest step of ${kind}, s`);
  }
  check(packets.find((packet) => packet.codec_type === 'video').flags.startsWith('K'), 'begins with a keyframe');
});

test('HTTP-FLV starts at once from the GOP cache', async (t) => {
  const node = await sharedNode();
  const name = freshName('gop');
  await publishRtmp(t, node, name, { gop: 120 });
  const first = watchFlv(t, `${node.url}/${name}.flv`);
  await moreVideo(first, 30);
  const second = watchFlv(t, `${node.url}/${name}.flv`);
  await until('a keyframe', () => second.keyframes > 0, 1000);
  atMost(second.first_ms, 500 * patience(), 'milliseconds to the first frame');
  t.note(`first frame ${Math.round(second.first_ms)} ms`);
  await moreVideo(second, 30);
  equal(second.backwards, 0, 'timestamps going back');
});

test('sixty FLV viewers of one worker come and go, by HTTP and WebSocket, until the stream ends', async (t) => {
  const node = await startNode(t, { workers: 1, args: ['--stream-publisher-grace-ms', '1s'] });
  const name = freshName('many');
  const publisher = await publishRtmp(t, node, name);
  const come = (count, options) => Array.from({ length: count }, () =>
    watchFlv(t, `${node.url}/${name}.flv`, {}, options));
  const viewers = [...come(45), ...come(15, { socket: true })];
  await Promise.all(viewers.map((viewer) => moreVideo(viewer, 30)));
  // while writes are on their way: some go, others come, whose times begin at another tag
  const gone = [...viewers.splice(5, 8), ...viewers.splice(-4)];
  for (const viewer of gone) {
    viewer.close();
    await moreVideo(viewers[0], 1);
    viewers.push(...come(1, { socket: viewers.length % 4 === 0 }));
  }
  viewers.forEach((viewer) => viewer.takeAccount());
  await Promise.all(viewers.map((viewer) => moreVideo(viewer, 60)));
  const accounts = viewers.map((viewer) => viewer.takeAccount());
  atMost(Math.max(...accounts.map(({ step_ms }) => step_ms)), 100 * patience(), 'largest step, ms');
  publisher.stop();
  await until('the end', () => viewers.every(({ closed }) => closed), 20000);
  for (const { error, socket, backwards, repeats, left, keyframes } of viewers) {
    equal(error?.message, socket ? 'closed by the server' : undefined, 'how it ended');
    equal([backwards, repeats], [0, 0], 'times that go back or stand still');
    equal(left, 0, 'bytes of a tag that has not come whole');
    atLeast(keyframes, 1, 'keyframes');
  }
  t.note(`largest step ${Math.max(...accounts.map(({ step_ms }) => step_ms))} ms, longest pause ${Math.max(...accounts.map(({ gap_ms }) => gap_ms))} ms`);
});

test('a second RTMP publisher of a busy name is refused, the first goes on', async (t) => {
  const node = await sharedNode();
  const name = freshName('busy');
  await publishRtmp(t, node, name);
  const viewer = watchFlv(t, `${node.url}/${name}.flv`);
  await moreVideo(viewer, 10);
  const second = pushRtmp(t, node.rtmp, name);
  await until('the second one is refused', () => second.status !== null);
  check(second.status !== 0 && second.errors, () => `status ${second.status}: ${second.errors}`);
  await moreVideo(viewer, 30);
});

for (const [name, what] of [['api/x', 'a reserved app'], ['live/.x', 'a name with a leading dot'], ['live/a%20b!', 'forbidden characters']]) {
  test(`RTMP with ${what} is refused`, async (t) => {
    const node = await sharedNode();
    const publisher = pushRtmp(t, node.rtmp, name);
    await until('refused', () => publisher.status !== null);
    check(publisher.status !== 0, 'exit status of ffmpeg');
  });
}

test('B-frames nobody refers to: WHEP viewers get the stream without them, in order', async (t) => {
  const node = await sharedNode();
  const name = freshName('bframes');
  await publishRtmp(t, node, name,
    { video: ['-tune', 'film', '-profile:v', 'main', '-bf', '2', '-x264-params', 'b-pyramid=none:rc-lookahead=5'] });
  const peer = await playWhep(await openPage(t, node), node, name);
  await checkPicture(peer, 640, 360, 30);
  const { streams } = await probe(`${node.url}/${name}.flv`, 2);
  check(streams.some((stream) => stream.codec_type === 'video' && stream.has_b_frames > 0), 'FLV keeps them');
});

test('RTMP publisher stops and returns: WHEP and FLV viewers stay and go on', async (t) => {
  const node = await sharedNode();
  const name = freshName('return');
  const first = await publishRtmp(t, node, name);
  const peer = await playWhep(await openPage(t, node), node, name);
  const viewer = watchFlv(t, `${node.url}/${name}.flv`);
  await peer.moreVideo(30);
  await moreVideo(viewer, 10);
  await first.stop();
  pushRtmp(t, node.rtmp, name, { source: 'flash', size: '320x180' });
  const now = await until('the picture of the new publisher', async () => {
    const seen = await peer.look();
    return seen.video?.frameWidth === 320 && seen;
  }, 15000);
  equal(now.states, ['connecting', 'connected'], 'states of the connection');
  await peer.moreVideo(60);
  await peer.moreSound();
  await moreVideo(viewer, 60);
  equal(viewer.backwards, 0, 'FLV timestamps going back');
});
