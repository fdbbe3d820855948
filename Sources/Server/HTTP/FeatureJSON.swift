import Core

/// Rows of requests and features of answers as JSON, written without intermediate values: the hot path of the REST API.
enum FeatureJSON {
  /// `[{"customer_id": 42}, …]` or one object.
  static func rows(_ json: JSON, field: String) throws -> [RequestRow] {
    switch json {
    case .object: return [try row(json, field: field)]
    case .array(let items): return try items.map { try row($0, field: field) }
    default:
      throw PlatformError(
        .invalidArgument,
        "'\(field)' must be an object or a list of objects, as in [{\"customer_id\": 42}]")
    }
  }

  static func row(_ json: JSON, field: String) throws -> RequestRow {
    guard case .object(let members) = json else {
      throw PlatformError(.invalidArgument, "each row of '\(field)' must be an object")
    }
    var row = RequestRow(minimumCapacity: members.count)
    for member in members {
      guard let value = member.value.value else {
        throw PlatformError(
          .invalidArgument,
          "'\(member.key)' in '\(field)' must be a number, text, true, false or null, or an array of one of them without null"
        )
      }
      row[member.key] = value
    }
    return row
  }

  static func names(_ json: JSON?, field: String) throws -> [String] {
    guard let items = json?.array, !items.isEmpty else {
      throw PlatformError(
        .invalidArgument,
        "'\(field)' must be a list of names, as in [\"customer_activity.orders_7d\"]")
    }
    return try items.map { item in
      guard let name = item.string else {
        throw PlatformError(.invalidArgument, "'\(field)' must be a list of names")
      }
      return name
    }
  }

  private static func write(time: Timestamp?, into bytes: inout [UInt8]) {
    if let time {
      JSON.write(time.description, into: &bytes)
    } else {
      bytes.append(contentsOf: "null".utf8)
    }
  }

  /// `{"name": {"value": …, "status": …, "event_timestamp": …}, …}`
  static func named(_ names: [String], _ vector: FeatureVector, into bytes: inout [UInt8]) {
    bytes.append(UInt8(ascii: "{"))
    for (index, (name, feature)) in zip(names, vector.values).enumerated() {
      if index > 0 { bytes.append(UInt8(ascii: ",")) }
      JSON.write(name, into: &bytes)
      bytes.append(contentsOf: ":{\"value\":".utf8)
      JSON.write(feature.value, into: &bytes)
      bytes.append(contentsOf: ",\"status\":\"".utf8)
      bytes.append(contentsOf: feature.status.rawValue.utf8)
      bytes.append(contentsOf: "\",\"event_timestamp\":".utf8)
      write(time: feature.eventTimestamp, into: &bytes)
      bytes.append(UInt8(ascii: "}"))
    }
    bytes.append(UInt8(ascii: "}"))
  }

  static func separated<Items: Sequence>(
    _ items: Items, into bytes: inout [UInt8], _ write: (Items.Element, inout [UInt8]) -> Void
  ) {
    var first = true
    for item in items {
      if !first { bytes.append(UInt8(ascii: ",")) }
      first = false
      write(item, &bytes)
    }
  }
}
