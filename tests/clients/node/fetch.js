// Node's fetch, as it is. It has one pool, the process's.

const { run } = require("./common.js");

async function exchange(method, url, body) {
  const answer = await fetch(url, { method, body });
  return { status: answer.status, body: Buffer.from(await answer.arrayBuffer()) };
}

run(`fetch of Node ${process.versions.node}`, () => exchange);
