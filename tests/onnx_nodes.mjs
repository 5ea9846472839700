// Runs ONNX's own node cases and compares with the list of those that pass, which may only grow.
//
// Usage: node tests/onnx_nodes.mjs [--update]     --update adds cases that have begun to pass
import {existsSync, readdirSync, readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';

import {octavoJson, root} from './harness.mjs';

const cases = '/usr/share/libonnx-testdata/data/node';
const listPath = join(root, 'tests/data/onnx_node_cases.txt');

const names = readdirSync(cases).filter((name) => existsSync(join(cases, name, 'model.onnx')));
const {passed, failed, unsupported} = octavoJson(
    'test',
    ...names.map((name) => join(cases, name)),
);
const reasons = new Map([...failed, ...unsupported].map(({name, why}) => [name, why]));
const passing = new Set(names.filter((name) => !reasons.has(name)));
if (passing.size !== passed) {
  throw new Error(`octavo test says that ${passed} cases passed, its lists leave ${passing.size}`);
}

const listed =
    existsSync(listPath) ? readFileSync(listPath, 'utf8').split('\n').filter(Boolean) : [];
const regressions = listed.filter((name) => !passing.has(name));
const news = [...passing].filter((name) => !listed.includes(name));
for (const name of regressions) console.log(`FAIL  ${name}: ${reasons.get(name) ?? 'is gone'}`);
if (news.length > 0 && process.argv.includes('--update')) {
  writeFileSync(listPath, [...listed, ...news].sort().join('\n') + '\n');
  console.log(`${news.length} cases added to ${listPath}`);
} else if (news.length > 0) {
  console.log(`${news.length} more cases pass; add them with: node tests/onnx_nodes.mjs --update`);
}
console.log(
    `onnx nodes: of ${names.length} cases ${passing.size} pass, ${failed.length} fail, ` +
        `${unsupported.length} are not supported`,
);
console.log(
    `onnx nodes: ${listed.length - regressions.length} passed, ${regressions.length} failed`,
);
process.exit(regressions.length > 0 ? 1 : 0);
