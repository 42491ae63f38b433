// Runs the other end of a call in Firefox: `node firefox.js <executable> <page>`. It is
// called as `lines.js` tells, and passes the calls on to the page.
"use strict";

const path = require("node:path");
const { pathToFileURL } = require("node:url");
const puppeteer = require("puppeteer-core");
const { serve, write } = require("./lines.js");
const { PREFERENCES, messageOf } = require("./preferences.js");

async function main([executablePath, page]) {
  const browser = await puppeteer.launch({
    browser: "firefox",
    executablePath,
    extraPrefsFirefox: PREFERENCES,
    headless: true,
  });
  const tab = await browser.newPage();
  tab.on("pageerror", (error) => write({ event: "error", error: messageOf(error) }));
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
