import Core

/// The names of everything that a project has in Redis.
///
/// `{project}:{view}:{entity key}` is the hash of an entity key; in a Cluster the entity key stands in braces, so that what all
/// views of a project know of it lies on one node. Keys with a single `:` are the store's own.
package struct RedisKeys: Sendable {
  /// The field of a hash that holds the whole state; no column is called so.
  package static let state = Array("#state".utf8)

  package let project: String
  package let isCluster: Bool

  package init(project: String, isCluster: Bool) {
    self.project = project
    self.isCluster = isCluster
  }

  /// Hash: view → what it is laid out for.
  package var views: [UInt8] { Array("\(project):views".utf8) }
  /// Held by the one who empties a view.
  package var lease: [UInt8] { Array("\(project):lease".utf8) }
  /// Set: the partitions of streams of which anything is noted.
  package var streams: [UInt8] { Array("\(project):streams".utf8) }
  /// Hash: which warehouse has which records of a partition.
  package func stream(_ partition: StreamPartition) -> [UInt8] {
    Array("\(project):stream@\(partition)".utf8)
  }
  /// Hash: warehouse → where its process is, of all that ever filled views.
  var processes: [UInt8] { Array("\(project):processes".utf8) }
  /// There while the process of a warehouse is.
  func sign(of warehouse: String) -> [UInt8] { Array("\(project):process@\(warehouse)".utf8) }
  /// Hash: what processes tell one another.
  func board(_ name: String) -> [UInt8] { Array("\(project):board@\(name)".utf8) }
  /// Held by the one who does something alone.
  func lease(_ name: String) -> [UInt8] { Array("\(project):lease@\(name)".utf8) }
  /// Two hashes in one slot: the younger and the older ids of a source's records.
  func identities(of source: String, shard: Int) -> [[UInt8]] {
    ["", "old"].map { Array("\(project):ids@{\(source)/\(shard)}\($0)".utf8) }
  }
  /// Hash: stream → the last sequence that the view has whole.
  package func positions(of view: String) -> [UInt8] { Array("\(project):positions@\(view)".utf8) }

  /// What all keys of a view begin with.
  package func prefix(of view: String) -> [UInt8] {
    Array("\(project):\(view):\(isCluster ? "{" : "")".utf8)
  }

  /// A pattern of `SCAN` that finds the keys of a view and no others.
  package func pattern(of view: String) -> [UInt8] {
    var pattern: [UInt8] = []
    for byte in prefix(of: view) {
      if [42, 63, 91, 92, 93, 94].contains(byte) { pattern.append(92) }
      pattern.append(byte)
    }
    return pattern + [42]
  }

  package func entity(_ key: EntityKey, prefix: [UInt8], types: [ColumnType]) -> [UInt8] {
    var bytes = prefix
    bytes.reserveCapacity(prefix.count + 24)
    RedisKeys.append(key, types: types, to: &bytes)
    if isCluster { bytes.append(UInt8(ascii: "}")) }
    return bytes
  }

  /// The key that `entity` gave this name; nil for a name that it gives to none.
  package func key(of name: [UInt8], prefix: [UInt8], types: [ColumnType]) -> EntityKey? {
    guard name.starts(with: prefix), name.count >= prefix.count + (isCluster ? 1 : 0) else {
      return nil
    }
    let body = name[prefix.count..<(name.count - (isCluster ? 1 : 0))]
    var parts: [Value] = []
    for (index, part) in RedisKeys.parts(of: body).enumerated() {
      var type = index < types.count ? types[index] : .string
      var bytes = part[...]
      if part.starts(with: #"\i"#.utf8) || part.starts(with: #"\s"#.utf8) {
        type = part[1] == UInt8(ascii: "i") ? .int64 : .string
        bytes = part[2...]
      }
      if type == .int64 {
        guard let number = Int64(String(decoding: bytes, as: UTF8.self)) else { return nil }
        parts.append(.int64(number))
      } else {
        guard let text = RedisKeys.unescaped(bytes) else { return nil }
        parts.append(.string(text))
      }
    }
    guard parts.count == max(1, types.count), let key = EntityKey(parts),
      entity(key, prefix: prefix, types: types) == name
    else { return nil }
    return key
  }

  /// Split at each `|` that has no `\` before it.
  private static func parts(of bytes: ArraySlice<UInt8>) -> [[UInt8]] {
    var parts: [[UInt8]] = [[]]
    var isEscaped = false
    for byte in bytes {
      if byte == UInt8(ascii: "|"), !isEscaped {
        parts.append([])
      } else {
        parts[parts.count - 1].append(byte)
      }
      isEscaped = byte == UInt8(ascii: "\\") && !isEscaped
    }
    return parts
  }

  private static func unescaped(_ bytes: ArraySlice<UInt8>) -> String? {
    var text: [UInt8] = []
    var isEscaped = false
    for byte in bytes {
      if byte == UInt8(ascii: "\\"), !isEscaped {
        isEscaped = true
        continue
      }
      isEscaped = false
      text.append(byte)
    }
    return String(validating: text, as: UTF8.self)
  }

  /// The text of `EntityKey.description`; a part that is not of the column's type is marked, so that the text `1` and the number 1
  /// never meet.
  private static func append(_ key: EntityKey, types: [ColumnType], to bytes: inout [UInt8]) {
    for (index, part) in key.parts.enumerated() {
      if index > 0 { bytes.append(UInt8(ascii: "|")) }
      let type = index < types.count ? types[index] : .string
      switch part {
      case .int64(let number):
        if type != .int64 { bytes.append(contentsOf: #"\i"#.utf8) }
        bytes.append(contentsOf: String(number).utf8)
      case .string(let text):
        if type == .int64 { bytes.append(contentsOf: #"\s"#.utf8) }
        for byte in text.utf8 {
          if byte == UInt8(ascii: "|") || byte == UInt8(ascii: "\\") {
            bytes.append(UInt8(ascii: "\\"))
          }
          bytes.append(byte)
        }
      }
    }
  }
}
