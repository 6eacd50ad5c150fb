// SPDX-License-Identifier: Apache-2.0
// A stream that is published at one node of a cluster is played at another.

import { test } from './harness.mjs';
import { Cluster } from './cluster.mjs';
import { moreVideo, publishRtmp, watchFlv } from './media.mjs';
import { freshName } from './node.mjs';

test('published at one node, played at another', async (t) => {
  const cluster = await Cluster.start(t);
  const [a, b] = cluster.nodes;
  const name = freshName('across');
  await publishRtmp(t, a, name);
  const viewer = await watchFlv(t, `${b.url}/${name}.flv`);
  await moreVideo(viewer, 60, 15000);
}, { timeout_ms: 90000 });
