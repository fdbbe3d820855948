import Core
import Foundation

/// Turns `{"entity_id", "feature_name", "value", "event_timestamp"}` into a record of a source: the key columns, the
/// column that the feature is the latest value of, and the event time; all else is absent, so no observation.
///
/// `feature_name` is `view.feature`, or the feature alone where one view over the source has it. `entity_id` of a key
/// of several columns has their values in order, joined by `|`; a `|` or `\` inside one has a `\` before it. That of
/// one column is taken as it is.
struct BareFeatureValues: Sendable {
  enum Reading {
    case record([UInt8])
    /// Not a bare value: a record of the source, or nothing at all.
    case other
    case fault(String)
  }

  private struct Target: Sendable {
    var view: String
    var entity: EntityDefinition
    var column: String
  }

  private static let needle = Array("\"feature_name\"".utf8)
  private static let members = ["entity_id", "feature_name", "value", "event_timestamp"]

  private let source: SourceDefinition
  /// By `view.feature` and by the bare name.
  private let targets: [String: [Target]]
  /// The source has a column called like a member: its records are never bare.
  private let isOff: Bool

  init(_ source: SourceDefinition, _ project: ProjectDefinition) {
    self.source = source
    isOff = source.column("feature_name") != nil
    var targets: [String: [Target]] = [:]
    for view in project.views where view.source == source.name {
      guard let entity = project.entity(view.entity) else { continue }
      for feature in view.features {
        guard case .latest(let column, _) = feature.kind else { continue }
        let target = Target(view: view.name, entity: entity, column: column)
        targets["\(view.name).\(feature.name)", default: []].append(target)
        targets[feature.name, default: []].append(target)
      }
    }
    self.targets = targets
  }

  func read(_ bytes: UnsafeBufferPointer<UInt8>) -> Reading {
    guard !isOff, hasNeedle(bytes) else { return .other }
    // What is no JSON is the record parser's to refuse, with the place.
    guard let json = try? JSON(parsing: bytes), case .object = json else { return .other }
    guard json["feature_name"] != nil else { return .other }
    for member in Self.members where json[member] == nil {
      return .fault("a bare feature value has no '\(member)'")
    }
    guard let name = json["feature_name"]?.string else {
      return .fault("'feature_name' is not a string")
    }
    let target: Target
    switch find(name) {
    case .success(let found): target = found
    case .failure(let fault): return .fault(fault.text)
    }
    return record(json, target)
  }

  private struct Unknown: Error { var text: String }

  private func find(_ name: String) -> Result<Target, Unknown> {
    let found = targets[name] ?? []
    if found.count == 1 { return .success(found[0]) }
    if found.isEmpty {
      let known = targets.keys.filter { $0.contains(".") }
      return .failure(
        Unknown(
          text: "'\(name)' is no latest value of source '\(source.name)'"
            + suggestion(for: name, among: known)))
    }
    let views = found.map(\.view).joined(separator: ", ")
    return .failure(
      Unknown(text: "'\(name)' is a feature of several views (\(views)); write view.feature"))
  }

  private func record(_ json: JSON, _ target: Target) -> Reading {
    let key = target.entity.key
    let parts: [String]
    switch json["entity_id"] {
    case _ where key.isEmpty: parts = []
    case .string(let text): parts = key.count == 1 ? [text] : Self.parts(of: text)
    case .int(let number): parts = ["\(number)"]
    default: return .fault("'entity_id' is neither a string nor a whole number")
    }
    guard parts.count == key.count else {
      return .fault(
        "'entity_id' has \(parts.count) parts, but the key of '\(target.entity.name)' has \(key.count): "
          + key.joined(separator: "|"))
    }
    var members: [JSON.Member] = []
    for (name, part) in zip(key, parts) where name != target.column {
      let isNumber = source.column(name)?.type == .int64
      members.append(
        .init(name, isNumber ? Int64(part).map { .int($0) } ?? .string(part) : .string(part)))
    }
    members.append(.init(target.column, json["value"] ?? .null))
    if source.eventTime != target.column {
      members.append(.init(source.eventTime, json["event_timestamp"] ?? .null))
    }
    return .record(JSON.object(members).utf8)
  }

  private static func parts(of text: String) -> [String] {
    var parts = [""]
    var isEscaped = false
    for character in text.unicodeScalars {
      switch (character, isEscaped) {
      case ("\\", false):
        isEscaped = true
        continue
      case ("|", false): parts.append("")
      default: parts[parts.count - 1].unicodeScalars.append(character)
      }
      isEscaped = false
    }
    return parts
  }

  private func hasNeedle(_ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
    guard let base = bytes.baseAddress else { return false }
    return Self.needle.withUnsafeBytes { needle in
      guard let wanted = needle.baseAddress else { return false }
      var at = 0
      while at + needle.count <= bytes.count,
        let quote = memchr(base + at, 0x22, bytes.count - needle.count - at + 1)
      {
        if memcmp(quote, wanted, needle.count) == 0 { return true }
        at = UnsafeRawPointer(quote) - UnsafeRawPointer(base) + 1
      }
      return false
    }
  }
}
