// A day with dockerode, as it is written in its documentation.
const assert = require('node:assert');
const { execFileSync } = require('node:child_process');
const { PassThrough } = require('node:stream');
const { setTimeout: sleep } = require('node:timers/promises');
const Docker = require('dockerode');

const docker = new Docker();
const who = process.env.WHO;
const meet = (place) => execFileSync('meet', [place], { stdio: 'inherit' });

// collect returns a stream, and what has come through it.
function collect() {
  const stream = new PassThrough();
  const chunks = [];
  stream.on('data', (chunk) => chunks.push(chunk));
  return { stream, text: () => Buffer.concat(chunks).toString() };
}

const ended = (stream) => new Promise((resolve) => stream.on('end', resolve));

// exec runs a command and returns what it printed.
async function exec(container, words, input) {
  const run = await container.exec({ Cmd: words, AttachStdin: input !== undefined, AttachStdout: true, AttachStderr: true });
  const stream = await run.start({ hijack: true, stdin: input !== undefined });
  const out = collect();
  docker.modem.demuxStream(stream, out.stream, out.stream);
  if (input !== undefined) stream.end(input);
  await ended(stream);
  assert.strictEqual((await run.inspect()).ExitCode, 0, out.text());
  return out.text();
}

async function day() {
  assert.strictEqual((await docker.ping()).toString(), 'OK');
  const events = collect();
  const heard = await docker.getEvents({ filters: { type: ['container'] } });
  heard.pipe(events.stream);

  const out = collect();
  const said = ended(out.stream);
  const [result, once] = await docker.run('busybox', ['echo', who], out.stream, { Tty: false });
  assert.strictEqual(result.StatusCode, 0);
  await said;
  await once.remove();
  assert(out.text().includes(who), out.text());

  const net = await docker.createNetwork({ Name: 'net' });
  await docker.createVolume({ Name: 'data' });
  const web = await docker.createContainer({
    name: 'web',
    Image: 'busybox',
    Cmd: ['sh', '-c', 'echo serving; exec httpd -f -p 80 -h /data'],
    ExposedPorts: { '80/tcp': {} },
    HostConfig: {
      NetworkMode: 'net',
      Binds: ['data:/data'],
      PortBindings: { '80/tcp': [{ HostPort: '' }] },
      DeviceRequests: [{ Count: 1, Capabilities: [['gpu']] }],
    },
  });
  await web.start();
  await exec(web, ['sh', '-c', `echo ${who} >/data/index.html`]);
  meet('up');

  assert.deepStrictEqual((await docker.listContainers()).map((c) => c.Names), [['/web']]);
  assert.deepStrictEqual((await docker.listVolumes()).Volumes.map((v) => v.Name), ['data']);
  assert.strictEqual(await exec(web, ['sh', '-c', 'until wget -qO- web 2>/dev/null; do sleep 0.1; done']), who + '\n');
  assert.strictEqual(await exec(web, ['cat'], 'in'), 'in');
  const devices = (await exec(web, ['ls', '/dev'])).split('\n');
  assert.strictEqual(devices.filter((d) => /^nvidia[0-9]/.test(d)).length, 1, devices);
  const port = (await web.inspect()).NetworkSettings.Ports['80/tcp'][0].HostPort;
  assert.strictEqual(await (await fetch(`http://127.0.0.1:${port}/`)).text(), who + '\n');

  const logs = collect();
  const follow = await web.logs({ follow: true, stdout: true, stderr: true });
  docker.modem.demuxStream(follow, logs.stream, logs.stream);
  for (let i = 0; i < 600 && !logs.text().includes('serving'); i++) await sleep(50);
  assert(logs.text().includes('serving'));
  follow.destroy();
  assert.strictEqual((await web.stats({ stream: false })).id, web.id);
  assert((await web.top()).Processes.length > 0);

  const archive = await whole(await web.getArchive({ path: '/data/index.html' }));
  assert(archive.includes(who));
  await web.putArchive(archive, { path: '/tmp' });
  assert.strictEqual(await exec(web, ['cat', '/tmp/index.html']), who + '\n');
  await web.restart({ t: 0 });
  await web.rename({ name: 'shop' });
  const image = await web.commit({ repo: 'mine', tag: '1' });
  assert.strictEqual((await docker.getImage('mine:1').inspect()).Id, image.Id);
  meet('end');

  await web.remove({ force: true });
  await docker.getImage('mine:1').remove();
  await docker.getVolume('data').remove();
  await net.remove();
  for (let i = 0; i < 600 && !events.text().includes('"destroy"'); i++) await sleep(50);
  assert(events.text().includes('"destroy"'));
  heard.destroy();
}

// whole returns all that a stream of bytes holds.
async function whole(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

day().then(() => process.exit(0), (e) => { console.error(e); process.exit(1); });
