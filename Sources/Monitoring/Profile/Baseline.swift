import Core
import Foundation

/// The training-time statistics of a version: every feature of its vector and its predictions.
package struct Baseline: Codable, Sendable, Equatable {
  package var model: String
  package var rows: Int
  /// In the order of the model's vector. Arrays are left out: one number says little of an embedding.
  package var features: [ColumnProfile]
  package var prediction: ColumnProfile

  /// The name under which predictions are reported beside the features.
  package static let predictionName = "prediction"

  package init(model: String, features: ColumnBatch, predictions: [Double]) {
    self.model = model
    rows = features.count
    self.features = features.columns.filter { !$0.type.isArray }.map { ColumnProfile(of: $0) }
    prediction = ColumnProfile(of: Column(name: Self.predictionName, values: .double(predictions)))
  }

  /// Canonical JSON: the same statistics give the same bytes, so the same digest.
  package func encoded() throws -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .prettyPrinted]
    encoder.nonConformingFloatEncodingStrategy = .convertToString(
      positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
    return [UInt8](try encoder.encode(self))
  }

  package init(decoding bytes: [UInt8]) throws {
    let decoder = JSONDecoder()
    decoder.nonConformingFloatDecodingStrategy = .convertFromString(
      positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
    self = try decoder.decode(Baseline.self, from: Data(bytes))
  }
}
