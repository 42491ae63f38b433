// Shows a page in Firefox: `node firefox.js <executable> <url>`. It is called as
// `../interop/lines.js` tells, with what to evaluate and what to click on.
"use strict";

const { openPage } = require("../interop/open_firefox.js");
const { serve, write } = require("../interop/lines.js");

async function main([executablePath, url]) {
  const { browser, tab } = await openPage(executablePath);
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
