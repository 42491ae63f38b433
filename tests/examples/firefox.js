// Shows a page in Firefox: `node firefox.js <executable> <url>`. It is called as
// `../interop/lines.js` tells, with what to evaluate and what to click on.
"use strict";

const { PREFERENCES, messageOf } = require("../interop/preferences.js");
const puppeteer = require("../interop/node_modules/puppeteer-core");
const { serve, write } = require("../interop/lines.js");

async function main([executablePath, url]) {
  const browser = await puppeteer.launch({
    browser: "firefox",
    executablePath,
    extraPrefsFirefox: PREFERENCES,
    headless: true,
  });
  const tab = await browser.newPage();
  tab.on("pageerror", (error) => write({ event: "error", error: messageOf(error) }));
  tab.on("console", (message) => {
    if (message.type() === "error") {
      write({ event: "error", error: message.text() });
    }
  });
  await tab.goto(url);

  serve(
    (method, args) =>
      method === "click" ? tab.click(args.selector) : tab.evaluate(args.expression),
    () => browser.close(),
  );
}

main(process.argv.slice(2));
