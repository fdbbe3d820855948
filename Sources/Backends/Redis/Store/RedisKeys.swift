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
