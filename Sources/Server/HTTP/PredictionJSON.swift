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
    if answer.isMixed {
      // No version stands for all rows, so that none can be taken for that of another.
      bytes.append(contentsOf: ",\"version\":null,\"stage\":null".utf8)
    } else {
      bytes.append(contentsOf: ",\"version\":\(answer.version),\"stage\":".utf8)
      JSON.write(answer.stage.rawValue, into: &bytes)
    }
    bytes.append(contentsOf: ",\"route\":".utf8)
    JSON.write(answer.route, into: &bytes)
    bytes.append(contentsOf: ",\"why\":".utf8)
    JSON.write(
      answer.isMixed ? "each row goes by its own key, see there" : answer.why, into: &bytes)
    bytes.append(contentsOf: ",\"predictions\":[".utf8)
    FeatureJSON.separated(answer.predictions, into: &bytes) { prediction, bytes in
      bytes.append(contentsOf: "{\"value\":".utf8)
      JSON.write(prediction.value, into: &bytes)
      bytes.append(contentsOf: ",\"version\":\(prediction.version),\"route\":\"".utf8)
      bytes.append(contentsOf: prediction.route.kind.rawValue.utf8)
      bytes.append(contentsOf: "\",\"features\":".utf8)
      FeatureJSON.named(prediction.featureNames, prediction.vector, into: &bytes)
      if let explanation = prediction.explanation {
        explain(prediction, explanation, into: &bytes)
      }
      bytes.append(UInt8(ascii: "}"))
    }
    let latency = answer.latency
    bytes.append(
      contentsOf:
        "],\"latency_us\":{\"hydrate\":\(latency.hydrate),\"queue\":\(latency.queue),\"compute\":\(latency.compute),\"total\":\(latency.total)}}\n"
        .utf8)
    return bytes
  }

  private static func explain(
    _ prediction: Prediction, _ explanation: Explanation, into bytes: inout [UInt8]
  ) {
    bytes.append(contentsOf: ",\"stage\":\"\(prediction.stage.rawValue)\",\"why\":".utf8)
    JSON.write(prediction.route.why, into: &bytes)
    bytes.append(contentsOf: ",\"key_position\":".utf8)
    JSON.write(explanation.position, into: &bytes)
    bytes.append(contentsOf: ",\"given\":{".utf8)
    for (name, value) in zip(prediction.featureNames, explanation.given) {
      JSON.writeMember(name, value, into: &bytes)
    }
    bytes.append(UInt8(ascii: "}"))
  }
}
