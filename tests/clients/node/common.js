// What the clients in Node share: workers, a count, and what a right answer is.

const { URL: url, UNTIL, POOLS, PER_POOL, IDLE_FROM_MS, IDLE_MS, GET, LENGTH, POST } = process.env;
const BODY = Buffer.alloc(1000, "b");
const BYTES = Buffer.alloc(Number(LENGTH), "x");
const until = 1000 * UNTIL;
const seen = { requests: 0, failed: [] };

const idle = () => Number(IDLE_FROM_MS) + Math.random() * (IDLE_MS - IDLE_FROM_MS);
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

function shown(error) {
  const parts = [];
  for (; error && parts.length < 6; error = error.cause) {
    parts.push(`${error.name} ${error.code ?? ""}: ${error.message}`);
  }
  return parts.join(" <- ");
}

async function work(exchange) {
  let post = POST && Math.random() < 0.5;
  do {
    await sleep(idle());
    const begun = Date.now() / 1000;
    const method = post ? "POST" : "GET";
    let error = null;
    try {
      const answer = await (post
        ? exchange(method, url + POST, BODY)
        : exchange(method, url + GET));
      const right = answer.status === 200 && answer.body.equals(post ? BODY : BYTES);
      if (!right) error = `${answer.status}, ${answer.body.length} bytes`;
    } catch (exception) {
      error = shown(exception);
    }
    seen.requests += 1;
    if (error) seen.failed.push({ begun, at: Date.now() / 1000, method, error });
    post = POST && !post;
  } while (Date.now() < until);
}

// `pool` makes a pool, and gives what makes an exchange with it.
exports.run = async (version, pool) => {
  const workers = [];
  for (let number = 0; number < POOLS; number++) {
    const exchange = pool();
    for (let worker = 0; worker < PER_POOL; worker++) workers.push(work(exchange));
  }
  await Promise.all(workers);
  console.log(JSON.stringify({ version, ...seen }));
  process.exit(0);
};
