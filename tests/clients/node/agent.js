// Node's https with an Agent for each pool, as the global one is made.

const https = require("node:https");
const { run } = require("./common.js");

function pool() {
  const { keepAlive, scheduling } = https.globalAgent;
  const { timeout } = https.globalAgent.options;
  const agent = new https.Agent({ keepAlive, scheduling, timeout });
  return (method, url, body) =>
    new Promise((done, failed) => {
      const request = https.request(url, { method, agent }, (answer) => {
        const parts = [];
        answer.on("data", (part) => parts.push(part));
        answer.on("end", () => {
          if (!answer.complete) return failed(new Error("the answer is incomplete"));
          done({ status: answer.statusCode, body: Buffer.concat(parts) });
        });
        answer.on("error", failed);
      });
      request.on("error", failed);
      request.end(body);
    });
}

run(`https.Agent of Node ${process.versions.node}`, pool);
