import Core

/// A push as records of its source's topic.
///
/// The key is the entity key of the first view over the source, so that the events of one entity are in one partition and
/// stay in order; its parts are joined by `|`, a `|` or `\` inside a part has a `\` before it. A record without an id of
/// its own, from a client that numbers its records, has the id of a push in the header `event_id`.
package struct ProducedRecords {
  private let source: SourceDefinition
  private let topic: String
  private let keyColumns: [String]
  private let client: String?
  package private(set) var records: [ProducedRecord] = []
  private var number: Int64

  /// - Parameters:
  ///   - client: who numbers its records.
  ///   - first: the number of the first.
  package init(
    _ source: SourceDefinition, topic: String, in project: ProjectDefinition, client: String?,
    first: Int64
  ) {
    self.source = source
    self.topic = topic
    self.client = client
    number = first
    let view = project.views.first { $0.source == source.name }
    keyColumns = view.flatMap { project.entity($0.entity)?.key } ?? []
  }

  /// One record a line; blank lines are passed over, as where lines are read.
  package mutating func append(lines bytes: UnsafeBufferPointer<UInt8>) {
    var start = 0
    while start < bytes.count {
      let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) ?? bytes.count
      let line = UnsafeBufferPointer(rebasing: bytes[start..<end])
      start = end + 1
      guard line.contains(where: { $0 != 0x20 && $0 != 0x0D && $0 != 0x09 }) else { continue }
      append(record: line)
    }
  }

  /// The records of a body that was read before and found to be JSON: an object, an array, or objects one after another.
  package mutating func append(body bytes: UnsafeBufferPointer<UInt8>) throws(JSONFault) {
    var scanner = JSONScanner(bytes)
    scanner.skipBlanks()
    let isArray = scanner.take(UInt8(ascii: "["))
    while true {
      scanner.skipBlanks()
      if scanner.isAtEnd || (isArray && scanner.take(UInt8(ascii: "]"))) { return }
      let start = scanner.position
      try scanner.skipValue(depth: isArray ? 1 : 0)
      append(record: scanner.slice(start..<scanner.position))
      scanner.skipBlanks()
      if isArray { _ = scanner.take(UInt8(ascii: ",")) }
    }
  }

  package mutating func append(record: UnsafeBufferPointer<UInt8>) {
    let json = try? JSON(parsing: record)
    var headers: [(name: String, value: String)] = []
    let hasID = source.eventID.map { json?[$0] ?? .null != .null } ?? false
    if let client, !hasID {
      headers.append(
        ("event_id", RecordOrigin.push(client: client).idPrefix + String(number)))
    }
    number += 1
    records.append(
      ProducedRecord(
        topic: topic, key: json.flatMap(key), value: Array(record), headers: headers))
  }

  /// Nil where a part is missing or no part of a key: such a record goes to any partition.
  private func key(_ record: JSON) -> String? {
    guard !keyColumns.isEmpty else { return nil }
    var parts: [String] = []
    for column in keyColumns {
      switch record[column] {
      case .string(let text): parts.append(text)
      case .int(let number): parts.append(String(number))
      case .bool(let flag): parts.append(String(flag))
      default: return nil
      }
    }
    if parts.count == 1 { return parts[0] }
    return parts.map { part in
      var escaped = ""
      for character in part.unicodeScalars {
        if character == "|" || character == "\\" { escaped.unicodeScalars.append("\\") }
        escaped.unicodeScalars.append(character)
      }
      return escaped
    }.joined(separator: "|")
  }
}
