// The action against a release on loopback, as GitHub's runner starts it.
'use strict';

const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const { createHash } = require('node:crypto');
const fs = require('node:fs');
const http = require('node:http');
const os = require('node:os');
const path = require('node:path');
const test = require('node:test');

const { words } = require('./main.js');

const NAME = `mab-linux-${{ x64: 'amd64', arm64: 'arm64' }[os.arch()]}`;
// Tells what it was given, and says what a bake says.
const PROGRAM = `#!/bin/sh
printf '%s\\n' "$@" "token=$ACTIONS_RUNTIME_TOKEN" "cache=$ACTIONS_RESULTS_URL" "in=$PWD" > "$TOLD"
while [ $# -gt 0 ]; do
  if [ "$1" = --metadata-file ]; then
    printf '{"api":{"containerimage.digest":"sha256:1","image.name":"ghcr.io/shop/api:1,ghcr.io/shop/api:2"}}' > "$2"
  fi
  shift
done
echo parts/linux-arm64-123
exit "\${CODE:-0}"
`;

function sha256(text) {
  return createHash('sha256').update(text).digest('hex');
}

// A release on loopback, a runner's environment, and one run of the action.
async function ran(inputs, { files, environment = {}, folder = fs.mkdtempSync(path.join(os.tmpdir(), 'mab-action-')) } = {}) {
  const release = { SHA256SUMS: `${sha256(PROGRAM)}  ${NAME}\n`, [NAME]: PROGRAM, ...files };
  const asked = [];
  const server = http.createServer((request, response) => {
    asked.push(request.url);
    const body = request.url.startsWith('/v1.2.3/') ? release[request.url.slice('/v1.2.3/'.length)] : undefined;
    response.writeHead(body === undefined ? 404 : 200).end(body);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const file = (name) => path.join(folder, name);
  const env = {
    PATH: process.env.PATH,
    RUNNER_TOOL_CACHE: file('tools'),
    RUNNER_TEMP: folder,
    GITHUB_OUTPUT: file('output'),
    GITHUB_STEP_SUMMARY: file('summary'),
    GITHUB_ACTION_REF: 'v1.2.3',
    ACTIONS_RUNTIME_TOKEN: 'a-token',
    ACTIONS_RESULTS_URL: 'https://results.example.com/',
    TOLD: file('told'),
    INPUT_RELEASES: `http://127.0.0.1:${server.address().port}`,
    'INPUT_WORKING-DIRECTORY': folder,
    ...environment,
  };
  for (const [name, value] of Object.entries(inputs)) env[`INPUT_${name.toUpperCase()}`] = value;
  const child = spawn(process.execPath, [path.join(__dirname, 'main.js')], { env });
  let printed = '';
  child.stdout.on('data', (chunk) => (printed += chunk));
  child.stderr.on('data', (chunk) => (printed += chunk));
  const code = await new Promise((resolve) => child.on('close', resolve));
  server.close();
  const read = (name) => (fs.existsSync(file(name)) ? fs.readFileSync(file(name), 'utf8') : '');
  return { code, printed, asked, folder, told: read('told').split('\n'), output: read('output'), summary: read('summary') };
}

test('a release is installed, checked and run with what the cache is asked with', async () => {
  const first = await ran({ run: "bake release --set 'a.args.X=one two'" });
  assert.equal(first.code, 0, first.printed);
  assert.deepEqual(first.told.slice(0, 5), ['bake', 'release', '--set', 'a.args.X=one two', '--metadata-file']);
  assert.deepEqual(first.told.slice(6, 9), ['token=a-token', 'cache=https://results.example.com/', `in=${first.folder}`]);
  assert.match(first.summary, /\| api \| `sha256:1` \| `ghcr\.io\/shop\/api:1`<br>`ghcr\.io\/shop\/api:2` \|/);
  assert.match(first.output, /^metadata<<(end-[0-9a-f-]+)\n\{"api":.*\}\n\1\n$/);
  assert.deepEqual(first.asked, ['/v1.2.3/SHA256SUMS', `/v1.2.3/${NAME}`]);
  const second = await ran({ run: 'bake' }, { folder: first.folder });
  assert.deepEqual(second.asked, ['/v1.2.3/SHA256SUMS'], 'the program is there');
});

test('a part is an output, and there is no summary where none is wanted', async () => {
  const done = await ran({ run: 'bake --platform linux/arm64 --part parts/', summary: 'false' });
  assert.match(done.output, /part<<(\S+)\nparts\/linux-arm64-123\n\1\n$/);
  assert.equal(done.summary, '');
});

test('another program than that of the release does not run', async () => {
  const done = await ran({ run: 'bake' }, { files: { [NAME]: '#!/bin/sh\n' } });
  assert.equal(done.code, 1);
  assert.match(done.printed, /^::error title=mab::`mab-linux-\w+` of 1\.2\.3 is [0-9a-f]{64}, and its release says/);
  assert.deepEqual(done.told, ['']);
});

test('what cannot be done is told', async () => {
  const told = async (inputs, more) => (await ran(inputs, more)).printed;
  assert.match(await told({ run: '' }), /::error title=mab::the input `run` is empty/);
  assert.match(await told({ run: 'bake "x' }), /input `run` has a " that is not closed/);
  assert.match(await told({ run: 'bake', version: '9.9.9' }), /cannot fetch .*\/v9\.9\.9\/SHA256SUMS: 404/);
  assert.match(await told({ run: 'bake' }, { environment: { GITHUB_ACTION_REF: 'main' } }), /`main` is no version/);
  assert.match(await told({ run: 'bake', releases: 'http://example.com' }), /releases come over https/);
  assert.match(await told({ run: 'bake' }, { files: { SHA256SUMS: 'x\n' } }), /does not name `mab-linux-/);
});

test('the exit code is that of mab', async () => {
  const done = await ran({ run: 'plan' }, { environment: { CODE: '4' } });
  assert.equal(done.code, 4);
  assert.deepEqual(done.told.slice(0, 2), ['plan', 'token=a-token']);
});

test('words are split as people expect', () => {
  assert.deepEqual(words(` a  'b c' "d \\"e" f'g'h `), ['a', 'b c', 'd "e', 'fgh']);
  assert.deepEqual(words("''"), ['']);
});
