// Plays one scenario with Convex's own npm clients against a deployment and prints what happened, as one line of JSON.
//
//   node play.mjs SCENARIO '{"url": …, "token": …, "key": …}'
//
// Values are printed in Convex's encoding, so that numbers that JSON lacks, bytes and int64 are seen as they came.
import { convexToJson } from "convex/values";
import * as files from "./file_scenarios.mjs";
import * as http from "./http_scenarios.mjs";
import * as live from "./live_scenarios.mjs";

const [, , name, options] = process.argv;
const happened = await { ...files, ...http, ...live }[name](JSON.parse(options));
process.stdout.write(JSON.stringify(convexToJson(happened)) + "\n", () => process.exit(0));
