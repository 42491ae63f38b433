// Runs the other end of a call in Firefox: `node firefox.js <executable> <page>`. It is
// called as `lines.js` tells, and passes the calls on to the page.
"use strict";

const path = require("node:path");
const { pathToFileURL } = require("node:url");
const { serve, write } = require("./lines.js");
const { openPage } = require("./open_firefox.js");

async function main([executablePath, page]) {
  const { browser, tab } = await openPage(executablePath);
  await tab.exposeFunction("emit", write);
  // Media devices exist only in a secure context, which a local file is to Firefox.
  await tab.goto(pathToFileURL(path.join(__dirname, page)).href);

  async function call(method, args) {
    const outcome = await tab.evaluate(
      (method, args) =>
        remote.call(method, args).then(
          (result) => ({ result }),
          (error) => ({ error: errorText(error) }),
        ),
      method,
      args,
    );
    if (outcome.error !== undefined) {
      throw outcome.error;
    }
    return outcome.result;
  }

  serve(call, () => browser.close());
}

main(process.argv.slice(2));
