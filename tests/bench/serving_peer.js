// The peer of the serving figures: fastify + onnxruntime-node, one process, answering the same JSON with a network of the same shapes.
// node serving_peer.js FOLDER_OF_NODE_MODULES PORT
'use strict';
const path = require('path');
const modules = path.resolve(process.argv[2]);
const ort = require(path.join(modules, 'onnxruntime-node'));
const fastify = require(path.join(modules, 'fastify'))({ logger: false, bodyLimit: 16 << 20 });

// ONNX as protocol buffers, no more of it than a chain of layers needs (field numbers: onnx.proto3).
function varint(n) {
  const out = [];
  for (let v = BigInt.asUintN(64, BigInt(n)); ; v >>= 7n) {
    if (v < 128n) { out.push(Number(v)); return Buffer.from(out); }
    out.push(Number(v & 127n) | 128);
  }
}
const int = (field, n) => Buffer.concat([varint(field << 3), varint(n)]);
const bytes = (field, b) => { b = Buffer.from(b); return Buffer.concat([varint(field << 3 | 2), varint(b.length), b]); };
const all = (...parts) => Buffer.concat(parts.flat());

const ints = (name, values) => bytes(5, all(bytes(1, name), values.map(v => int(8, v)), int(20, 7)));
const number = (name, value) => bytes(5, all(bytes(1, name), int(3, value), int(20, 2)));
const node = (op, inputs, output, attributes = []) =>
  bytes(1, all(inputs.map(i => bytes(1, i)), bytes(2, output), bytes(3, output), bytes(4, op), attributes));
function weights(name, shape) {
  const fanIn = shape.slice(1).reduce((a, b) => a * b, 1);
  const values = Float32Array.from({ length: shape.reduce((a, b) => a * b) }, () => (Math.random() - 0.5) * 2 / Math.sqrt(fanIn));
  return bytes(5, all(shape.map(d => int(1, d)), int(2, 1), bytes(8, name), bytes(9, Buffer.from(values.buffer))));
}
const value = (field, name, shape) => bytes(field, all(bytes(1, name),
  bytes(2, bytes(1, all(int(1, 1), bytes(2, all(shape.map(d => bytes(1, int(1, d))))))))));

function harModel() {
  const conv = (x, i, out) => node('Conv', [x, 'w' + i, 'b' + i], out, [ints('kernel_shape', [5]), ints('pads', [2, 2])]);
  const graph = all(
    conv('input', 1, 'c1'), node('Relu', ['c1'], 'r1'), node('MaxPool', ['r1'], 'p1', [ints('kernel_shape', [2]), ints('strides', [2])]),
    conv('p1', 2, 'c2'), node('Relu', ['c2'], 'r2'), node('MaxPool', ['r2'], 'p2', [ints('kernel_shape', [2]), ints('strides', [2])]),
    conv('p2', 3, 'c3'), node('Relu', ['c3'], 'r3'), node('GlobalAveragePool', ['r3'], 'g'), node('Flatten', ['g'], 'f'),
    node('Gemm', ['f', 'w4', 'b4'], 'scores', [number('transB', 1)]),
    bytes(2, 'har'),
    weights('w1', [64, 9, 5]), weights('b1', [64]), weights('w2', [64, 64, 5]), weights('b2', [64]),
    weights('w3', [128, 64, 5]), weights('b3', [128]), weights('w4', [6, 128]), weights('b4', [6]),
    value(11, 'input', [1, 9, 128]), value(12, 'scores', [1, 6]));
  return all(int(1, 8), bytes(7, graph), bytes(8, all(bytes(1, ''), int(2, 13))));
}

(async () => {
  const session = await ort.InferenceSession.create(harModel(), { intraOpNumThreads: 1, interOpNumThreads: 1, graphOptimizationLevel: 'all' });
  fastify.post('/v2/models/har/infer', async request => {
    const input = request.body.inputs[0];
    const tensor = new ort.Tensor('float32', Float32Array.from(input.data), input.shape);
    const { scores } = await session.run({ input: tensor });
    return { model_name: 'har', outputs: [{ name: 'scores', datatype: 'FP32', shape: scores.dims, data: Array.from(scores.data) }] };
  });
  await fastify.listen({ port: Number(process.argv[3]), host: '127.0.0.1' });
  console.log('listening on ' + process.argv[3]);
})().catch(e => { console.error(e.message); process.exit(1); });
