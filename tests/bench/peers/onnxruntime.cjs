// ONNX Runtime as a child of the benchmark, one thread. Lines in, lines out:
//   load FILE D,D,…   shape of one sample, without the batch     -> ok | error REASON
//   run BATCH COUNT   COUNT inferences of random input           -> us MEDIAN | error REASON
const readline = require('readline');
let ort;
try { ort = require('onnxruntime-node'); } catch (e) { console.log('error ' + String(e.message).split('\n')[0]); process.exit(0); }
let session, shape;

async function run(batch, count) {
  const size = shape.reduce((a, b) => a * b, batch);
  const data = Float32Array.from({ length: size }, () => Math.random());
  const feed = { [session.inputNames[0]]: new ort.Tensor('float32', data, [batch, ...shape]) };
  const us = [];
  for (let i = 0; i < count; i++) {
    const start = process.hrtime.bigint();
    await session.run(feed);
    us.push(Number(process.hrtime.bigint() - start) / 1e3);
  }
  us.sort((a, b) => a - b);
  return us[count >> 1];
}

async function answer(line) {
  const words = line.trim().split(' ');
  if (words[0] === 'load') {
    session = await ort.InferenceSession.create(words[1], { intraOpNumThreads: 1, interOpNumThreads: 1, graphOptimizationLevel: 'all' });
    shape = words[2].split(',').map(Number);
    return 'ok';
  }
  return 'us ' + (await run(Number(words[1]), Number(words[2]))).toFixed(3);
}

let last = Promise.resolve();
readline.createInterface({ input: process.stdin }).on('line', line => {
  last = last.then(() => answer(line)).catch(e => 'error ' + String(e.message || e).split('\n')[0]).then(text => console.log(text));
});
