// What every script here shares: `--name=value` arguments, and JSON lines on stdout.
"use strict";

const options = {};
for (const argument of process.argv.slice(2)) {
  const [, name, value] = /^--([^=]+)=?(.*)$/.exec(argument);
  options[name] = value || "yes";
}

function say(message) {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

module.exports = { options, say };
