// How Firefox is started, and how its errors are told.
"use strict";

const puppeteer = require("puppeteer-core");
const { write } = require("./lines.js");

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

/** Start Firefox, and return it and a page which tells of what it has not caught. */
async function openPage(executablePath) {
  const browser = await puppeteer.launch({
    browser: "firefox",
    executablePath,
    extraPrefsFirefox: PREFERENCES,
    headless: true,
  });
  const tab = await browser.newPage();
  tab.on("pageerror", (error) => write({ event: "error", error: messageOf(error) }));
  return { browser, tab };
}

module.exports = { openPage };
