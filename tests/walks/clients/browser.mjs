// A browser that is told what to do, one JSON array a line, and answers each with one line of JSON.
//
//   node browser.mjs /usr/bin/chromium
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const quiet = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const browser = await chromium.launch({ executablePath: process.argv[2], args: ["--no-sandbox", ...quiet] });
const page = await browser.newPage();
const complaints = [];
page.on("pageerror", (error) => complaints.push(String(error)));
page.setDefaultTimeout(20_000);

const DEEDS = {
  open: (url) => page.goto(url).then(() => null),
  fill: (where, text) => page.fill(where, text).then(() => null),
  click: (where) => page.click(where).then(() => null),
  // Until exactly these texts are there; what is there instead, when that never comes.
  texts: async (where, texts) => {
    const there = () => page.locator(where).allInnerTexts();
    const same = ([where, texts]) => JSON.stringify([...document.querySelectorAll(where)].map((each) => each.innerText)) === JSON.stringify(texts);
    await page.waitForFunction(same, [where, texts]).catch(() => null);
    return there();
  },
  picture: (path) => page.screenshot({ path }).then(() => null),
  complaints: async () => complaints,
};

for await (const line of createInterface({ input: process.stdin })) {
  const [deed, ...details] = JSON.parse(line);
  const answer = await DEEDS[deed](...details).then((value) => ({ value }), (error) => ({ error: String(error) }));
  console.log(JSON.stringify(answer));
}
await browser.close();
