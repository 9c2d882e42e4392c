// TensorFlow Lite (XNNPACK, as SIMD WebAssembly) as a child of the benchmark, one thread. Lines in, lines out, as onnxruntime.cjs; a batch
// other than the model's own is an error.
const fs = require('fs'), path = require('path'), readline = require('readline');
globalThis.self = globalThis;
let factory, folder;
try {
  folder = path.join(path.dirname(require.resolve('@tensorflow/tfjs-tflite/package.json')), 'wasm/');
  factory = require(folder + 'tflite_web_api_cc_simd.js');
} catch (e) { console.log('error ' + String(e.message).split('\n')[0]); process.exit(0); }
let runtime, model;

async function load(file) {
  runtime ??= await factory({ locateFile: f => folder + f, wasmBinary: fs.readFileSync(folder + 'tflite_web_api_cc_simd.wasm'), print() {}, printErr() {} });
  const bytes = fs.readFileSync(file), at = runtime._malloc(bytes.length);
  runtime.HEAPU8.set(bytes, at);
  const made = runtime.TFLiteWebModelRunner.CreateFromBufferAndOptions(at, bytes.length,
    { numThreads: 1, enableWebNNDelegate: false, webNNDevicePreference: 0, enableProfiling: false, maxProfilingBufferEntries: 0 });
  if (!made.ok()) return 'error ' + made.errorMessage();
  model = made.value();
  return 'ok';
}

function run(batch, count) {
  if (batch !== 1) return 'error the file is for batches of 1';
  const us = [];
  for (let i = 0; i < count; i++) {
    const start = process.hrtime.bigint();
    model.Infer();
    us.push(Number(process.hrtime.bigint() - start) / 1e3);
  }
  us.sort((a, b) => a - b);
  return 'us ' + us[count >> 1].toFixed(3);
}

let last = Promise.resolve();
readline.createInterface({ input: process.stdin }).on('line', line => {
  const words = line.trim().split(' ');
  last = last.then(() => words[0] === 'load' ? load(words[1]) : run(Number(words[1]), Number(words[2])))
    .catch(e => 'error ' + String(e.message || e).split('\n')[0]).then(text => console.log(text));
});
