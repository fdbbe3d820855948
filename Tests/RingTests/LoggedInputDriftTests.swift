import Core
import DuckDBBackend
import Monitoring
import Testing

/// Drift reads what the prediction log holds of every type of feature as the baseline has it.
@Suite struct LoggedInputDriftTests {
  private static let types: [(name: String, type: ColumnType)] = [
    ("gift", .bool), ("items", .int64), ("amount", .double), ("country", .string),
    ("since", .timestamp),
  ]

  private static func vector(_ row: Int) -> [Value] {
    [
      row % 7 == 0 ? .null : .bool(row % 3 == 0), .int64(Int64(row)), .double(Double(row) / 8),
      .string(row % 2 == 0 ? "DE" : "FR"),
      .timestamp(Timestamp(microseconds: 1_700_000_000_000_000 + Int64(row))),
    ]
  }

  private static let version = ModelVersion(
    model: "m", version: 1, stage: .production, artifact: BlobDigest(hex: "01"),
    baseline: BlobDigest(hex: "02"), format: "f",
    features: types.map { ModelFeature(name: $0.name, origin: .input, type: $0.type) },
    definitionsVersion: 1,
    trainingSet: TrainingSetRecord(
      definitionsVersion: 1, asOf: Timestamp(microseconds: 0), rows: 1, evaluationFrom: 1, hash: ""),
    metrics: [:], libraries: [:], jobID: "j", createdAt: Timestamp(microseconds: 0))

  /// As the prediction log writes it.
  private static func logged(_ vector: [Value]) -> String {
    var json = Array("[".utf8)
    for (feature, value) in zip(types, vector) {
      if json.count > 1 { json.append(UInt8(ascii: ",")) }
      json.append(UInt8(ascii: "{"))
      JSON.writeMember("name", .string(feature.name), into: &json)
      JSON.writeMember("value", value, into: &json)
      json.append(UInt8(ascii: "}"))
    }
    json.append(UInt8(ascii: "]"))
    return String(decoding: json, as: UTF8.self)
  }

  @Test func `a window equal to the training rows has no drift in any type of feature`()
    async throws
  {
    let warehouse = try await DuckDBWarehouse.open(path: nil)
    let rows = 0..<200
    let vectors = rows.map { Self.vector($0) }
    let log = ColumnBatch(columns: [
      Column(name: "request_id", values: .string(rows.map { "r\($0)" })),
      Column(name: "model_id", values: .string(rows.map { _ in "m" })),
      Column(name: "model_version", values: .string(rows.map { _ in "1" })),
      Column(name: "model_inputs", values: .string(vectors.map { Self.logged($0) })),
      Column(name: "model_result", values: .double(rows.map { Double($0) })),
      Column(name: "event_datetime", values: .timestamp(rows.map { Int64($0) })),
    ])
    try await warehouse.commit(WarehouseCommit(rows: [("model_logs", log)]))
    let training = ColumnBatch(
      columns: Self.types.enumerated().map { index, feature in
        Column(name: feature.name, type: feature.type, vectors.map { $0[index] })
      })
    let baseline = Baseline(model: "m", features: training, predictions: rows.map { Double($0) })
    let start = Timestamp(microseconds: 0)
    let end = Timestamp(microseconds: 1_000)
    let window = try await LogReader(warehouse: warehouse).window(
      of: Self.version, from: start, to: end)
    let report = DriftDetector.compare(baseline, window: window, version: 1, from: start, to: end)
    #expect(report.rows == 200)
    for feature in report.features {
      #expect(feature.psi < 1e-9 && feature.ks ?? 0 < 1e-9, "\(feature)")
      #expect(feature.nullShare == feature.baselineNullShare, "\(feature)")
    }
    let gifts = try #require(window["gift"])
    #expect((0..<200).filter { gifts[$0] == .double(1) }.count == 57)
    try await warehouse.close()
  }
}
