// A Node client of the model server, its stubs generated from the .proto files in a folder.
//   node client.js HOST:PORT FOLDER
const assert = require("assert");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const [, , address, folder] = process.argv;
const options = { keepCase: true, longs: Number, defaults: true, includeDirs: [folder] };
const files = ["prediction_service", "model_service"];
const loaded = loader.loadSync(
  files.map((name) => `tensorflow_serving/apis/${name}.proto`),
  options,
);
const serving = grpc.loadPackageDefinition(loaded).tensorflow.serving;
const credentials = grpc.credentials.createInsecure();
const prediction = new serving.PredictionService(address, credentials);
const models = new serving.ModelService(address, credentials);

const ask = (client, method, request) =>
  new Promise((resolve, reject) => {
    const deadline = Date.now() + 20000;
    client[method](request, { deadline }, (error, answer) => (error ? reject(error) : resolve(answer)));
  });

async function main() {
  const model_spec = { name: "m" };
  const x = { dtype: 1, tensor_shape: { dim: [{ size: 2 }] }, float_val: [2, 4] };
  const answer = await ask(prediction, "Predict", { model_spec, inputs: { x } });
  assert.deepStrictEqual(answer.outputs.y.float_val, [3, 4]);
  assert.strictEqual(answer.model_spec.version.value, 1);
  const metadata = await ask(prediction, "GetModelMetadata", {
    model_spec,
    metadata_field: ["signature_def"],
  });
  assert.ok(metadata.metadata.signature_def.value.length);
  const status = await ask(models, "GetModelStatus", { model_spec });
  assert.strictEqual(status.model_version_status[0].version, 1);
  for (const method of ["Classify", "Regress", "MultiInference"]) {
    const refused = await ask(prediction, method, { model_spec }).catch((error) => error);
    assert.strictEqual(refused.code, grpc.status.INVALID_ARGUMENT, method);
  }
  const unknown = await ask(prediction, "Predict", { model_spec: { name: "n" } }).catch((e) => e);
  assert.strictEqual(unknown.code, grpc.status.NOT_FOUND);
  console.log("all methods answered");
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
