// Runs the other end of a call in Firefox: `node firefox.js <executable> <page>`. It is
// called as `lines.js` tells, and passes the calls on to the page.
"use strict";

const path = require("node:path");
const { pathToFileURL } = require("node:url");
const puppeteer = require("puppeteer-core");
const { serve, write } = require("./lines.js");

const PREFERENCES = {
  "media.autoplay.default": 0,
  // What a release does on its own accord, such as fetching codecs and updates.
  "app.normandy.enabled": false,
  "browser.safebrowsing.downloads.enabled": false,
  "extensions.systemAddon.update.enabled": false,
  "media.gmp-manager.updateEnabled": false,
  "network.captive-portal-service.enabled": false,
  "network.connectivity-service.enabled": false,
  // Devices which are none, and nobody to ask about them.
  "media.navigator.permission.disabled": true,
  "media.navigator.streams.fake": true,
  // An address hidden behind a multicast name is of no use where nothing resolves it.
  "media.peerconnection.ice.obfuscate_host_addresses": false,
  // A machine may have no other address, and no route from which to tell the best one.
  "media.peerconnection.ice.default_address_only": false,
  "media.peerconnection.ice.loopback": true,
};

/** What can be told of an error which the page has thrown. */
function messageOf(error) {
  return error instanceof Error ? error.message.split("\n", 1)[0] : String(error);
}

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
