import Core
import Foundation

/// A source as it was read: its definition, and what its names stand for.
struct SourceScope {
  var definition: SourceDefinition
  /// Every declared column; nil for one whose type is in error.
  var columnTypes: [String: ColumnType?]

  /// The type of a record field: a column, the event time or the event id.
  func fieldType(_ name: String) -> ColumnType?? {
    if let type = columnTypes[name] { return type }
    if name == definition.eventTime { return .some(.timestamp) }
    if name == definition.eventID { return .some(.string) }
    return nil
  }

  var fields: [String] {
    columnTypes.keys.sorted() + [definition.eventTime]
      + (definition.eventID.map { [$0] } ?? [])
  }
}

/// Reads `sources:`.
struct SourceSection {
  private static let keys = [
    "event_time", "zone", "event_id", "columns", "checks", "transform", "kafka", "retention",
  ]

  let diagnostics: Diagnostics
  let files: ProjectFiles

  func read(_ section: MappingReader?) -> [SourceScope] {
    var topics: [String: String] = [:]
    return (section?.named("source") ?? []).compactMap { name, value in
      guard let mapping = value.mapping(of: value.what, known: Self.keys, at: name.place) else {
        return nil
      }
      return source(name.value, mapping, &topics)
    }
  }

  /// - Parameter topics: the source that each topic read so far brings events of.
  private func source(
    _ name: String, _ mapping: MappingReader, _ topics: inout [String: String]
  ) -> SourceScope {
    let eventTime = mapping.required("event_time", "the field that says when the event happened")?
      .name("field")
    let eventID = mapping["event_id"]?.name("field")
    let columns = columns(mapping, eventTime: eventTime?.value)
    check(eventTime, is: [.timestamp], in: columns)
    check(eventID, is: [.string, .int64], in: columns)
    if let eventID, eventID.value == eventTime?.value {
      diagnostics.report(
        "'event_id' of \(mapping.noun) is the event time; an id must tell events apart",
        at: eventID.place)
    }
    // The event time is stored as `event_timestamp` anyway, so a column of that name is not one more.
    let own = columns.filter { $0.name != eventTime?.value || !isReserved($0.name) }
    let definition = SourceDefinition(
      name: name, eventTime: eventTime?.value ?? "",
      zone: mapping["zone"]?.zone(), eventID: eventID?.value,
      columns: own.compactMap { column in
        column.type.map { ColumnDefinition(name: column.name, type: $0) }
      },
      checks: checks(mapping, columns),
      transform: mapping["transform"]?.transform(files),
      kafka: kafka(of: name, mapping, &topics), retention: mapping["retention"]?.span()?.value)
    return SourceScope(
      definition: definition,
      columnTypes: Dictionary(own.map { ($0.name, isReserved($0.name) ? nil : $0.type) }) {
        first, _ in first
      })
  }

  private func kafka(
    of source: String, _ mapping: MappingReader, _ topics: inout [String: String]
  ) -> KafkaDefinition? {
    guard
      let section = mapping["kafka"]?.mapping(
        of: "kafka of \(mapping.noun)", known: ["topic", "push"]),
      let topic = section.required("topic", "the topic that brings its events")?.topicName()
    else { return nil }
    if let other = topics[topic.value] {
      diagnostics.report(
        "the topic '\(topic.value)' brings events of source '\(other)' already; a topic has one source",
        at: topic.place)
      return nil
    }
    topics[topic.value] = source
    let push = section["push"]?.word("apply or produce", as: KafkaDefinition.PushWay.self)
    return KafkaDefinition(topic: topic.value, push: push?.value ?? .apply)
  }

  private func isReserved(_ column: String) -> Bool { NameRules.reservedColumns.contains(column) }

  typealias ReadColumn = (name: String, type: ColumnType?)

  private func columns(_ mapping: MappingReader, eventTime: String?) -> [ReadColumn] {
    guard
      let section = mapping.required("columns", "the typed fields of a record")?
        .mapping(of: "columns of \(mapping.noun)", known: nil)
    else { return [] }
    if section.entries.isEmpty {
      section.report("\(section.noun): there must be at least one column")
    }
    return section.named("column").map { name, value in
      if isReserved(name.value), name.value != eventTime {
        section.report(
          "the column name '\(name.value)' is reserved: the platform adds that column itself; choose another",
          at: name.place)
      }
      return (name.value, value.columnType())
    }
  }

  private func check(_ field: Located<String>?, is types: [ColumnType], in columns: [ReadColumn]) {
    guard let field, let type = columns.first(where: { $0.name == field.value })?.type,
      !types.contains(type)
    else { return }
    let wanted = types.map(\.rawValue).joined(separator: " or ")
    diagnostics.report(
      "the column '\(field.value)' is \(type.rawValue); to be used here it must be \(wanted)",
      at: field.place)
  }

  private func checks(_ mapping: MappingReader, _ columns: [ReadColumn]) -> [ColumnCheck] {
    CheckSection(diagnostics: diagnostics).read(mapping, columns)
  }
}

extension NodeReader {
  func columnType() -> ColumnType? {
    let wanted =
      "a type: bool, int64, double, string or timestamp, or an array of one, like \"double[384]\" or \"string[]\""
    guard let text = text(wanted) else { return nil }
    if let type = ColumnType(rawValue: text.value) { return type }
    let element = String(text.value.prefix { $0 != "[" })
    let brackets = text.value.dropFirst(element.count)
    if ScalarType(rawValue: element) != nil {
      report(
        "\(what) has the unknown type '\(text.value)'; write \(element)[] for arrays of any length, or \(element)[384] "
          + "for arrays of one, from 1 to \(Limits.fixedArrayElements)")
      return nil
    }
    let ours = [
      "int": "int64", "integer": "int64", "float": "double", "number": "double",
      "text": "string", "str": "string", "boolean": "bool", "date": "timestamp",
      "datetime": "timestamp",
    ]
    let near =
      ours[element] ?? nearestName(to: element, among: ScalarType.allCases.map(\.rawValue))
    report(
      "\(what) has the unknown type '\(text.value)'"
        + (near.map { "; did you mean '\($0)\(brackets)'?" } ?? "; give \(wanted)"))
    return nil
  }

  /// The name of one topic, as Kafka allows it; a pattern is none.
  func topicName() -> Located<String>? {
    guard let text = text("the name of a topic") else { return nil }
    let allowed = text.value.utf8.allSatisfy { byte in
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"),
        UInt8(ascii: "-"):
        true
      default: false
      }
    }
    guard allowed, (1...249).contains(text.value.utf8.count), ![".", ".."].contains(text.value)
    else {
      report(
        "\(what) is '\(text.value)', which is no topic name: up to 249 letters, digits, '.', '_' and '-'"
      )
      return nil
    }
    return text
  }

  /// The name of a time zone that this machine knows.
  func zone() -> String? {
    guard let text = text("an IANA time zone, like Europe/Vienna") else { return nil }
    let isName = text.value == "UTC" || text.value.contains("/")
    guard isName, TimeZone(identifier: text.value) != nil else {
      let near = nearestName(to: text.value, among: TimeZone.knownTimeZoneIdentifiers)
      report(
        "\(what) is '\(text.value)', which is not an IANA time zone"
          + (near.map { "; did you mean '\($0)'?" } ?? "; write for example Europe/Vienna or UTC"))
      return nil
    }
    return text.value
  }

  /// `file.py:function`, or `{run: file.py:function, requirements: requirements.txt}`.
  func transform(_ files: ProjectFiles) -> CodeReference? {
    guard case .mapping = node else { return codeReference(files) }
    guard let mapping = mapping(of: what, known: ["run", "requirements"]),
      var code = mapping.required("run", "a function, like file.py:function")?
        .codeReference(files)
    else { return nil }
    if let reader = mapping["requirements"] {
      guard let file = reader.text("a file of the project with pinned versions"),
        reader.isProjectFile(file.value, files)
      else { return nil }
      code.requirements = file.value
    }
    return code
  }

  private func isProjectFile(_ file: String, _ files: ProjectFiles) -> Bool {
    guard !file.hasPrefix("/"), !file.split(separator: "/").contains("..") else {
      report("\(what): the file '\(file)' must be inside the project's folder")
      return false
    }
    guard files.exists(file) else {
      report("\(what): there is no file '\(file)' in the project's folder")
      return false
    }
    return true
  }

  /// `file.py:function`, where the file is in the project's folder.
  func codeReference(_ files: ProjectFiles) -> CodeReference? {
    guard let text = text("a function, like file.py:function") else { return nil }
    let parts = text.value.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
    guard parts.count == 2, parts[0].hasSuffix(".py"), isPythonName(parts[1]) else {
      report("\(what) is '\(text.value)'; write it as file.py:function")
      return nil
    }
    guard isProjectFile(parts[0], files), isDefined(parts[1], in: parts[0], files) else {
      return nil
    }
    return CodeReference(file: parts[0], function: parts[1])
  }

  /// Reports a function that is certainly not in its file; what cannot be told is let pass.
  private func isDefined(_ function: String, in file: String, _ files: ProjectFiles) -> Bool {
    guard let text = files.text(file) else { return true }
    let python = PythonFile(text)
    if python.mayDefine(function) { return true }
    let known = python.defined
    report(
      "\(what): '\(file)' does not define '\(function)'"
        + (known.isEmpty ? "" : suggestion(for: function, among: known)))
    return false
  }

  private func isPythonName(_ text: String) -> Bool {
    guard let first = text.utf8.first, !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first)
    else {
      return false
    }
    return text.unicodeScalars.allSatisfy {
      $0.isASCII && ($0.properties.isAlphabetic || ("0"..."9").contains($0) || $0 == "_")
    }
  }
}
