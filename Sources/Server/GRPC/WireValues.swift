import Core
import Features
import GRPCCore
import SwiftProtobuf
import Wire

/// Values, rows and times between the wire and the platform's own types.
extension Value {
  init(_ wire: Martlet_V1_Value) throws {
    switch wire.kind {
    case .boolValue(let value): self = .bool(value)
    case .int64Value(let value): self = .int64(value)
    case .doubleValue(let value): self = .double(value)
    case .stringValue(let value): self = .string(value)
    case .timestampValue(let value): self = .timestamp(try Timestamp(value))
    case .listValue(let list): self = .list(try ColumnValues(list))
    case nil: self = .null
    }
  }

  var wire: Martlet_V1_Value {
    var wire = Martlet_V1_Value()
    switch self {
    case .null: break
    case .bool(let value): wire.boolValue = value
    case .int64(let value): wire.int64Value = value
    case .double(let value): wire.doubleValue = value
    case .string(let value): wire.stringValue = value
    case .timestamp(let value): wire.timestampValue = value.wire
    case .list(let elements): wire.listValue = elements.wire
    }
    return wire
  }
}

extension ColumnValues {
  init(_ wire: Martlet_V1_List) throws {
    self =
      if !wire.bools.isEmpty {
        .bool(wire.bools)
      } else if !wire.int64S.isEmpty {
        .int64(wire.int64S)
      } else if !wire.strings.isEmpty {
        .string(wire.strings)
      } else if !wire.timestamps.isEmpty {
        .timestamp(try wire.timestamps.map { try Timestamp($0).microseconds })
      } else {
        .double(wire.doubles)
      }
  }

  var wire: Martlet_V1_List {
    var wire = Martlet_V1_List()
    switch self {
    case .bool(let all): wire.bools = all
    case .int64(let all): wire.int64S = all
    case .double(let all): wire.doubles = all
    case .string(let all): wire.strings = all
    case .timestamp(let all): wire.timestamps = all.map { Timestamp(microseconds: $0).wire }
    // Arrays hold no arrays.
    case .list: break
    }
    return wire
  }
}

extension Timestamp {
  init(_ wire: Google_Protobuf_Timestamp) throws {
    let (whole, isBeyond) = wire.seconds.multipliedReportingOverflow(by: 1_000_000)
    guard !isBeyond, Timestamp.bounds.contains(whole), (0..<1_000_000_000).contains(wire.nanos)
    else {
      throw PlatformError(
        .invalidArgument,
        "a time of \(wire.seconds) s and \(wire.nanos) ns since 1970 is not \(Timestamp.boundsText) with 0 to 999,999,999 ns"
      )
    }
    self.init(microseconds: whole + Int64(wire.nanos) / 1_000)
  }

  var wire: Google_Protobuf_Timestamp {
    let seconds = floorMultiple(microseconds, 1_000_000) / 1_000_000
    return Google_Protobuf_Timestamp(
      seconds: seconds, nanos: Int32((microseconds - seconds * 1_000_000) * 1_000))
  }
}

extension Span {
  /// The time that a caller gave its call: at most eight digits and a unit (the gRPC protocol's `grpc-timeout`).
  init?(timeoutOf metadata: Metadata) {
    guard let text = metadata[stringValues: "grpc-timeout"].first(where: { _ in true }),
      let unit = text.last, text.count <= 9, let number = Int64(text.dropLast()), number >= 0
    else { return nil }
    switch unit {
    case "H": self = .hours(number)
    case "M": self = .minutes(number)
    case "S": self = .seconds(number)
    case "m": self = .milliseconds(number)
    case "u": self = Span(microseconds: number)
    case "n": self = Span(microseconds: number / 1_000)
    default: return nil
    }
  }
}

extension FeatureStatus {
  var wire: Martlet_V1_Status {
    switch self {
    case .present: .present
    case .null: .null
    case .notFound: .notFound
    case .expired: .expired
    }
  }
}

func requestRow(_ wire: Martlet_V1_Row) throws -> RequestRow {
  try wire.values.mapValues { try Value($0) }
}

extension FeatureValue {
  var wire: Martlet_V1_FeatureValue {
    var wire = Martlet_V1_FeatureValue()
    wire.value = value.wire
    wire.status = status.wire
    if let eventTimestamp { wire.eventTimestamp = eventTimestamp.wire }
    return wire
  }
}
