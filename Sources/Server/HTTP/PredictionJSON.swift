import Core
import Serving

/// Predictions as JSON, written straight to bytes.
enum PredictionJSON {
  static func answer(_ answer: PredictAnswer) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(512 + answer.predictions.count * 1_024)
    bytes.append(contentsOf: "{\"request_id\":".utf8)
    JSON.write(answer.requestID, into: &bytes)
    bytes.append(contentsOf: ",\"model\":".utf8)
    JSON.write(answer.model, into: &bytes)
    bytes.append(contentsOf: ",\"version\":\(answer.version),\"stage\":".utf8)
    JSON.write(answer.stage.rawValue, into: &bytes)
    bytes.append(contentsOf: ",\"route\":".utf8)
    JSON.write(answer.route, into: &bytes)
    bytes.append(contentsOf: ",\"predictions\":[".utf8)
    FeatureJSON.separated(answer.predictions, into: &bytes) { prediction, bytes in
      bytes.append(contentsOf: "{\"value\":".utf8)
      JSON.write(prediction.value, into: &bytes)
      bytes.append(contentsOf: ",\"features\":".utf8)
      FeatureJSON.named(answer.featureNames, prediction.vector, into: &bytes)
      bytes.append(UInt8(ascii: "}"))
    }
    let latency = answer.latency
    bytes.append(
      contentsOf:
        "],\"latency_us\":{\"hydrate\":\(latency.hydrate),\"queue\":\(latency.queue),\"compute\":\(latency.compute),\"total\":\(latency.total)}}\n"
        .utf8)
    return bytes
  }
}
