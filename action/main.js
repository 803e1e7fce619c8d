// Installs mab from a release whose checksum is right, runs it, and lists what it made on the run's page.
//
// An action and no script, since only actions are given what GitHub's cache is asked with: mab inherits it. Nothing but
// Node's own modules.
'use strict';

const { spawn } = require('node:child_process');
const { createHash, randomUUID } = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const LARGEST_PROGRAM = 512 << 20;
const ATTEMPTS = 4;

function input(name) {
  return (process.env[`INPUT_${name.toUpperCase()}`] ?? '').trim();
}

// Words as a shell would split them, but for everything else that a shell does.
function words(text) {
  const found = [];
  let word = null;
  let quote = null;
  for (let at = 0; at < text.length; at += 1) {
    const char = text[at];
    if (quote) {
      if (char === quote) quote = null;
      else if (char === '\\' && quote === '"' && '"\\'.includes(text[at + 1])) word += text[(at += 1)];
      else word += char;
    } else if (char === '"' || char === "'") {
      quote = char;
      word ??= '';
    } else if (/\s/.test(char)) {
      if (word !== null) found.push(word);
      word = null;
    } else {
      word = (word ?? '') + char;
    }
  }
  if (quote) throw new Error(`input \`run\` has a ${quote} that is not closed`);
  if (word !== null) found.push(word);
  return found;
}

function architecture() {
  const known = { x64: 'amd64', arm64: 'arm64' }[os.arch()];
  if (process.platform !== 'linux' || !known) {
    throw new Error(`releases of mab are for Linux on amd64 and arm64, and this is ${process.platform} on ${os.arch()}`);
  }
  return known;
}

// The version that the action is used at, unless another one is asked for.
function version() {
  const asked = input('version') || process.env.GITHUB_ACTION_REF || '';
  const plain = asked.replace(/^v/, '');
  if (/^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$/.test(plain)) return plain;
  throw new Error(`\`${asked}\` is no version: use the action at a version, or say one with the input \`version\``);
}

function releases() {
  const server = process.env.GITHUB_SERVER_URL || 'https://github.com';
  const repository = process.env.GITHUB_ACTION_REPOSITORY || process.env.GITHUB_REPOSITORY;
  const place = (input('releases') || `${server}/${repository}/releases/download`).replace(/\/+$/, '');
  const { protocol, hostname } = new URL(place);
  if (protocol !== 'https:' && !['127.0.0.1', 'localhost', '[::1]'].includes(hostname)) {
    throw new Error(`releases come over https, and \`${place}\` does not`);
  }
  return place;
}

async function fetched(url) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      const answer = await fetch(url);
      if (answer.ok) {
        const bytes = Buffer.from(await answer.arrayBuffer());
        if (bytes.length > LARGEST_PROGRAM) throw new Error(`it has ${bytes.length} bytes`);
        return bytes;
      }
      const error = new Error(`${answer.status} ${answer.statusText}`);
      error.isFinal = answer.status < 500 && answer.status !== 429;
      throw error;
    } catch (error) {
      if (error.isFinal || attempt === ATTEMPTS) throw new Error(`cannot fetch ${url}: ${error.cause?.message ?? error.message}`);
      await new Promise((resolve) => setTimeout(resolve, 250 * 2 ** attempt));
    }
  }
}

// The checksum of a release's file, as SHA256SUMS of the release has it.
function checksum(sums, name) {
  for (const line of sums.split('\n')) {
    const [, sum, file] = /^([0-9a-f]{64}) [ *](.+)$/.exec(line.trim()) ?? [];
    if (file === name) return sum;
  }
  throw new Error(`SHA256SUMS of the release does not name \`${name}\``);
}

function sha256(bytes) {
  return createHash('sha256').update(bytes).digest('hex');
}

// The program: from the machine's tool cache if it is there as the release has it, else from the release.
async function install() {
  if (input('version') === 'installed') return 'mab';
  const [place, wanted, name] = [releases(), version(), `mab-linux-${architecture()}`];
  const sums = (await fetched(`${place}/v${wanted}/SHA256SUMS`)).toString('utf8');
  const sum = checksum(sums, name);
  const folder = path.join(process.env.RUNNER_TOOL_CACHE || os.tmpdir(), 'mab', wanted, sum.slice(0, 12));
  const program = path.join(folder, 'mab');
  if (fs.existsSync(program) && sha256(fs.readFileSync(program)) === sum) return program;
  const bytes = await fetched(`${place}/v${wanted}/${name}`);
  if (sha256(bytes) !== sum) throw new Error(`\`${name}\` of ${wanted} is ${sha256(bytes)}, and its release says ${sum}`);
  fs.mkdirSync(folder, { recursive: true });
  const unfinished = `${program}.${randomUUID()}`;
  fs.writeFileSync(unfinished, bytes, { mode: 0o755 });
  fs.renameSync(unfinished, program);
  return program;
}

// Runs mab; what it prints is printed, and the last line is kept.
function run(program, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: path.resolve(input('working-directory') || '.'),
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let printed = '';
    child.stdout.on('data', (chunk) => {
      process.stdout.write(chunk);
      printed = (printed + chunk).slice(-4096);
    });
    const stop = (signal) => process.on(signal, () => child.kill(signal));
    ['SIGINT', 'SIGTERM'].forEach(stop);
    child.on('error', (error) => reject(new Error(`cannot run mab: ${error.message}`)));
    child.on('close', (code, signal) => resolve({ code: code ?? 130, signal, printed }));
  });
}

function append(variable, text) {
  const file = process.env[variable];
  if (file) fs.appendFileSync(file, text);
}

function output(name, value) {
  const end = `end-${randomUUID()}`;
  append('GITHUB_OUTPUT', `${name}<<${end}\n${value}\n${end}\n`);
}

function cell(text) {
  return String(text).replace(/[|`<>\r\n]/g, ' ').trim();
}

function summary(command, metadata) {
  const rows = Object.entries(metadata).filter(([, image]) => image?.['containerimage.digest']);
  if (rows.length === 0) return '';
  const lines = rows.map(([target, image]) => {
    const names = String(image['image.name'] ?? '').split(',').filter(Boolean).map((name) => `\`${cell(name)}\``);
    return `| ${cell(target)} | \`${cell(image['containerimage.digest'])}\` | ${names.join('<br>')} |`;
  });
  return `### \`mab ${cell(command)}\`\n\n| image | digest | names |\n|---|---|---|\n${lines.join('\n')}\n\n`;
}

async function main() {
  const args = words(input('run'));
  if (args.length === 0) throw new Error('the input `run` is empty: `bake release`, say');
  const program = await install();
  const isBake = ['bake', 'merge'].includes(args[0]);
  const isTold = args.some((word) => /^--metadata-file(=|$)/.test(word));
  const file = path.join(process.env.RUNNER_TEMP || os.tmpdir(), `mab-${randomUUID()}.json`);
  const { code, printed } = await run(program, isBake && !isTold ? [...args, '--metadata-file', file] : args);
  if (code === 0 && fs.existsSync(file)) {
    const text = fs.readFileSync(file, 'utf8');
    output('metadata', text.trim());
    if (input('summary') !== 'false') append('GITHUB_STEP_SUMMARY', summary(args.join(' '), JSON.parse(text)));
  }
  if (code === 0 && args.some((word) => /^--part(=|$)/.test(word))) output('part', printed.trim().split('\n').pop());
  fs.rmSync(file, { force: true });
  process.exitCode = code;
}

if (require.main === module) {
  main().catch((error) => {
    console.log(`::error title=mab::${error.message.replace(/%/g, '%25').replace(/\r/g, '%0D').replace(/\n/g, '%0A')}`);
    process.exitCode = 1;
  });
}

module.exports = { checksum, words };
