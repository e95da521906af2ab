// Images built with dockerode: from files that it packs, and from a tar.
const assert = require('node:assert');
const fs = require('node:fs');
const { execFileSync, spawn } = require('node:child_process');
const Docker = require('dockerode');

const docker = new Docker();
const who = process.env.WHO;
const meet = (place) => execFileSync('meet', [place], { stdio: 'inherit' });

// built follows a build to its end and returns what it said.
function built(stream) {
  return new Promise((resolve, reject) => {
    docker.modem.followProgress(stream, (err, said) => {
      const failed = said.find((s) => s.error); // dockerode leaves it to its callers
      if (err || failed) reject(err || new Error(failed.error));
      else resolve(said.map((s) => s.stream || '').join(''));
    });
  });
}

// run returns what a container of the image prints.
async function run(image) {
  const container = await docker.createContainer({ Image: image });
  const stream = await container.attach({ stream: true, stdout: true });
  const chunks = [];
  container.modem.demuxStream(stream, { write: (chunk) => chunks.push(chunk) }, process.stderr);
  const said = new Promise((resolve) => stream.on('end', resolve));
  await container.start();
  await container.wait();
  await said;
  await container.remove();
  return Buffer.concat(chunks).toString();
}

async function build() {
  fs.writeFileSync('note', who + '\n');
  fs.writeFileSync('Dockerfile', 'FROM busybox\nARG COURSE\nCOPY note /note\nRUN echo "$COURSE" >>/note\nCMD ["cat", "/note"]\n');
  const said = await built(await docker.buildImage({ context: '.', src: ['Dockerfile', 'note'] }, { t: 'app:1', buildargs: { COURSE: 'ml' }, labels: { course: 'ml' } }));
  assert(said.includes('Step 2/6 : ARG COURSE'), said);
  meet('built');
  assert.deepStrictEqual((await docker.listImages({ filters: { label: ['course=ml'] } })).map((i) => i.RepoTags), [['app:1']]);
  assert.strictEqual(await run('app:1'), who + '\nml\n');

  fs.mkdirSync('next');
  fs.writeFileSync('next/Other', 'FROM app:1\nRUN echo next >>/note\n');
  const tar = spawn('tar', ['-cz', '-C', 'next', '.'], { stdio: ['ignore', 'pipe', 'inherit'] });
  await built(await docker.buildImage(tar.stdout, { t: 'app:2', dockerfile: 'Other' }));
  assert.strictEqual(await run('app:2'), who + '\nml\nnext\n');

  fs.writeFileSync('Dockerfile', 'FROM busybox\nRUN false\n');
  await assert.rejects(docker.buildImage({ context: '.', src: ['Dockerfile'] }, {}).then(built), /returned a non-zero code: 1/);
  meet('end');
  for (const name of ['app:2', 'app:1']) await docker.getImage(name).remove();
  await docker.pruneImages();
}

build().then(() => process.exit(0), (e) => { console.error(e); process.exit(1); });
