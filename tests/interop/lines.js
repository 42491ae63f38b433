// How a program of Node's is called by the test: it reads calls from its standard input
// and writes answers and events to its standard output, one JSON object a line.
"use strict";

const readline = require("node:readline");
const { errorText } = require("./remote.js");

/** Write a message for the test. */
function write(message) {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

/**
 * Answer calls until the test closes the standard input, which ends this program.
 *
 * @param call runs a method by its name, and returns a promise of its result.
 * @param close called at the end.
 */
function serve(call, close = async () => {}) {
  const input = readline.createInterface({ input: process.stdin });
  input.on("line", async (line) => {
    const { id, method, args } = JSON.parse(line);
    try {
      write({ id, result: (await call(method, args)) ?? null });
    } catch (error) {
      write({ id, error: errorText(error) });
    }
  });
  input.on("close", () => close().finally(() => process.exit(0)));
}

module.exports = { serve, write };
