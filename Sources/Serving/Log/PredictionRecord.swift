import Core

/// One row of `model_logs` before it is text: everything by reference, so that recording is cheap.
package struct PredictionRecord: Sendable {
  /// `ID` for a request of one row, `ID#1`, `ID#2`, … for the rows of a larger one.
  package var requestID: String
  package var model: ModelDefinition
  /// Of the project, for the key columns.
  package var entities: [EntityDefinition]
  /// Nil where the prediction failed before one was found.
  package var version: ServedModel?
  package var route: Route
  package var row: RequestRow
  /// Nil where the prediction failed before it was read.
  package var vector: FeatureVector?
  package var value: Double?
  package var error: String?
  package var time: Timestamp
  package var latency: PredictLatency
  /// Its number among the rows that were answered together; the first one stands for the call where calls are counted.
  package var callRow: Int
  /// Of a fallback the version that failed, of a mirrored row the one that answered.
  package var otherVersion: Int64?
  /// Of a mirrored row what the version answers more than the other one did.
  package var difference: Double?
  /// Whether the version itself failed, and not the request or what comes before it.
  package var isVersionFault: Bool
  /// Whether the caller brought the vector itself, so that no keys stand behind it.
  package var isGiven = false

  package init(
    requestID: String, model: ModelDefinition, entities: [EntityDefinition], version: ServedModel?,
    route: Route, row: RequestRow, vector: FeatureVector?, value: Double?, error: String?,
    time: Timestamp, latency: PredictLatency, callRow: Int = 0, otherVersion: Int64? = nil,
    difference: Double? = nil, isVersionFault: Bool = false
  ) {
    self.requestID = requestID
    self.model = model
    self.entities = entities
    self.version = version
    self.route = route
    self.row = row
    self.vector = vector
    self.value = value
    self.error = error
    self.time = time
    self.latency = latency
    self.callRow = callRow
    self.otherVersion = otherVersion
    self.difference = difference
    self.isVersionFault = isVersionFault
  }
}

/// The table of the log: column by column.
enum PredictionLogTable {
  static let name = "model_logs"

  static func batch(_ records: [PredictionRecord]) -> ColumnBatch {
    func text(_ name: String, _ value: (PredictionRecord) -> String) -> Column {
      Column(name: name, values: .string(records.map(value)))
    }
    func textOrNull(_ name: String, _ value: (PredictionRecord) -> String?) -> Column {
      Column(name: name, type: .string, records.map { value($0).map { .string($0) } ?? .null })
    }
    func number(_ name: String, _ value: (PredictLatency) -> Int) -> Column {
      Column(name: name, values: .int64(records.map { Int64(value($0.latency)) }))
    }
    return ColumnBatch(
      columns: [
        text("request_id") { $0.requestID },
        text("model_id") { $0.model.name },
        textOrNull("model_version") { $0.version.map { String($0.version) } },
        textOrNull("stage") { $0.version?.artifact.stage.rawValue },
        text("route") { $0.route.kind.rawValue }, text("route_why") { $0.route.why },
        text("entity_keys") { entityKeys($0) },
        text("model_inputs") { inputs($0) },
        text("request_inputs") { requestInputs($0) },
        Column(
          name: "model_result", type: .double,
          records.map { $0.value.map { .double($0) } ?? .null }),
        textOrNull("model_error") { $0.error },
        Column(name: "event_datetime", values: .timestamp(records.map(\.time.microseconds))),
        number("hydrate_us") { $0.hydrate },
        number("queue_us") { $0.queue },
        number("compute_us") { $0.compute },
        number("total_us") { $0.total },
        Column(name: "call_row", values: .int64(records.map { Int64($0.callRow) })),
        textOrNull("other_version") { $0.otherVersion.map { String($0) } },
        Column(
          name: "difference", type: .double,
          records.map { $0.difference.map { .double($0) } ?? .null }),
        Column(name: "version_fault", values: .bool(records.map(\.isVersionFault))),
      ], count: records.count)
  }

  /// `{"customer_id":17}`: the key columns of all entities of the model, as the request named them; `null` where it brought the
  /// vector itself.
  private static func entityKeys(_ record: PredictionRecord) -> String {
    if record.isGiven { return "null" }
    var json = Array("{".utf8)
    for entity in record.model.entities {
      let columns = record.entities.first { $0.name == entity }?.key ?? [entity]
      for column in columns {
        let value = record.row[column] ?? (columns.count == 1 ? record.row[entity] : nil)
        JSON.writeMember(column, value ?? .null, into: &json)
      }
    }
    json.append(UInt8(ascii: "}"))
    return String(decoding: json, as: UTF8.self)
  }

  /// `{"scheduled_hour":17}`: the model's inputs that the request brought, also those that are not in the vector.
  private static func requestInputs(_ record: PredictionRecord) -> String {
    var json = Array("{".utf8)
    for input in record.model.inputs {
      if let value = record.row[input.name] { JSON.writeMember(input.name, value, into: &json) }
    }
    json.append(UInt8(ascii: "}"))
    return String(decoding: json, as: UTF8.self)
  }

  /// `[{"name":…,"value":…,"status":…,"event_timestamp":…}, …]` in the order of the vector.
  private static func inputs(_ record: PredictionRecord) -> String {
    guard let vector = record.vector, let version = record.version else { return "[]" }
    var json = Array("[".utf8)
    for (name, feature) in zip(version.featureNames, vector.values) {
      if json.count > 1 { json.append(UInt8(ascii: ",")) }
      json.append(UInt8(ascii: "{"))
      JSON.writeMember("name", .string(name), into: &json)
      JSON.writeMember("value", feature.value, into: &json)
      JSON.writeMember("status", .string(feature.status.rawValue), into: &json)
      let time: Value = feature.eventTimestamp.map { .timestamp($0) } ?? .null
      JSON.writeMember("event_timestamp", time, into: &json)
      json.append(UInt8(ascii: "}"))
    }
    json.append(UInt8(ascii: "]"))
    return String(decoding: json, as: UTF8.self)
  }
}
