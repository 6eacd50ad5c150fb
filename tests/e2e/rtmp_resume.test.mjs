// SPDX-License-Identifier: Apache-2.0
// An encoder over RTMP that comes back by the token that it was told when it began (`resume` of
// NetStream.Publish.Start): its viewers stay. ffmpeg keeps no token, so the row reads along.

import { check, equal, test, until } from './harness.mjs';
import { moreVideo, pushRtmp, watchFlv } from './media.mjs';
import { freshName, startNode } from './node.mjs';
import { TcpRelay } from './relay.mjs';

/** An encoder, and the token that the node gave it. `key`: stream name with its query. */
async function encoder(t, node, key, options) {
  const relay = await TcpRelay.start(t, new URL(node.rtmp).host);
  let said = '';
  relay.observe = (bytes) => { said += said.length < 65536 ? bytes.toString('latin1') : ''; };
  const process = pushRtmp(t, relay.url.replace('http:', 'rtmp:'), key, options);
  const [, resume] = await until('it was told its token', () => {
    const [, size, rest] = /\0\u0006resume\u0002\0(.)(.*)/s.exec(said) ?? [];
    return rest?.length >= size?.charCodeAt(0) && [said, rest.slice(0, size.charCodeAt(0))];
  }, 20000);
  return { process, resume };
}

const refused = async (t, node, key) => {
  const process = pushRtmp(t, node.rtmp, key);
  check(await process.end !== 0, () => `${key} was let in`);
};

test('RTMP: an encoder comes back by its resume token, its viewers stay; without it is refused', async (t) => {
  const node = await startNode(t);
  const name = freshName('rtmp-resume');
  const first = await encoder(t, node, name);
  check(/^[\x21-\x7e]{8,}$/.test(first.resume), () => `a token: ${first.resume}`);
  const viewer = watchFlv(t, `${node.url}/${name}.flv`);
  await moreVideo(viewer, 30);
  const [{ addr }] = await node.repl('actors stream where replica = false');
  await refused(t, node, name);
  await refused(t, node, `${name}?resume=${[...first.resume].reverse().join('')}`);
  equal(first.process.status, null, 'the first, after two that were refused');
  const second = await encoder(t, node, `${name}?resume=${first.resume}`, { size: '320x180' });
  check(second.resume !== first.resume, 'a token serves once');
  await until('the first was sent away', () => first.process.status !== null);
  await moreVideo(viewer, 60);
  equal(viewer.backwards, 0, 'times that ran backwards');
  await refused(t, node, `${name}?resume=${first.resume}`);
  await second.process.stop('SIGKILL');
  await encoder(t, node, `${name}?resume=${second.resume}`);
  await moreVideo(viewer, 60);
  equal((await node.repl('actors stream where replica = false')).map((row) => row.addr), [addr], 'the stream');
}, { timeout_ms: 120000 });
