import Core

/// The bodies of `/invocations`: the scoring contract of MLflow and SageMaker, read into tensors.
///
/// Columns that the model does not know are passed over, as those servers do.
package struct ScoringBody {
  private let signature: InferenceSignature
  private var model: ModelDefinition { signature.model }
  private var project: ProjectDefinition { signature.project }
  private var features: [ModelFeature] { signature.features }

  package init(_ signature: InferenceSignature) { self.signature = signature }

  static let forms = ["dataframe_split", "dataframe_records", "instances", "inputs"]

  /// - Throws: `invalid_argument` with what is wrong and where.
  package func call(json bytes: UnsafeBufferPointer<UInt8>) throws -> InferenceCall {
    let body = try JSON(parsing: bytes)
    guard case .object(let members) = body else {
      throw PlatformError(
        .invalidArgument, "send an object with one of \(ScoringBody.forms.joined(separator: ", "))")
    }
    let given = members.map(\.key).filter { ScoringBody.forms.contains($0) }
    guard given.count == 1, let form = given.first, let data = body[form] else {
      let unknown = members.first { !ScoringBody.forms.contains($0.key) }?.key ?? ""
      throw PlatformError(
        .invalidArgument,
        "the body has \(given.count) of \(ScoringBody.forms.joined(separator: ", ")); send exactly one"
          + (given.isEmpty && !unknown.isEmpty
            ? suggestion(for: unknown, among: ScoringBody.forms) : ""))
    }
    var call = InferenceCall()
    call.inputs =
      switch form {
      case "dataframe_split": try split(data)
      case "dataframe_records": try records(data, form)
      default: try columnar(data, form)
      }
    return call
  }

  package func call(csv bytes: UnsafeBufferPointer<UInt8>) throws -> InferenceCall {
    var rows = try CSVText.rows(bytes)
    guard let first = rows.first else {
      throw PlatformError(
        .invalidArgument, "the CSV is empty; send a line of names and a line for each row")
    }
    var call = InferenceCall()
    // SageMaker's containers send numbers alone, in the order of the features.
    if first.allSatisfy({ CSVText.number($0) != nil || $0.isEmpty }) {
      let cells = rows.map { row in JSON.array(row.map { CSVText.number($0) ?? .null }) }
      call.inputs = [try matrix(cells, "the CSV")]
      return call
    }
    rows.removeFirst()
    call.inputs = try named(first.filter { isKnown($0) }) { name in
      let column = first.firstIndex(of: name) ?? 0
      let type = type(of: name)
      return rows.map { row in CSVText.value(row[column], type) }
    }
    return call
  }

  // MARK: Forms

  /// `{"columns": […], "data": [[…]]}`, as pandas writes it; without columns a matrix.
  private func split(_ json: JSON) throws -> [Tensor] {
    guard let rows = json["data"]?.array else {
      throw PlatformError(
        .invalidArgument,
        "dataframe_split must be {\"columns\": […], \"data\": [[…], …]}, as DataFrame.to_dict(orient=\"split\") writes it"
      )
    }
    guard let columns = json["columns"], columns != .null else {
      return [try matrix(rows, "dataframe_split")]
    }
    let names = (columns.array ?? []).compactMap(\.string)
    guard names.count == columns.array?.count else {
      throw PlatformError(.invalidArgument, "'columns' of dataframe_split must be a list of names")
    }
    for (index, row) in rows.enumerated() {
      guard row.array?.count == names.count else {
        throw PlatformError(
          .invalidArgument,
          "row \(index + 1) of dataframe_split has \(row.array?.count ?? 0) values for \(names.count) columns"
        )
      }
    }
    return try named(names.filter { isKnown($0) }) { name in
      let column = names.firstIndex(of: name) ?? 0
      return rows.map { $0.array?[column] ?? .null }
    }
  }

  /// `[{"name": value, …}, …]`; a name that a row lacks is a missing value.
  private func records(_ json: JSON, _ form: String) throws -> [Tensor] {
    guard let rows = json.array else {
      throw PlatformError(.invalidArgument, "'\(form)' must be a list of objects")
    }
    var names: [String] = []
    var seen: Set<String> = []
    for (index, row) in rows.enumerated() {
      guard case .object(let members) = row else {
        throw PlatformError(.invalidArgument, "row \(index + 1) of '\(form)' is no object")
      }
      for member in members where seen.insert(member.key).inserted && isKnown(member.key) {
        names.append(member.key)
      }
    }
    return try named(names) { name in rows.map { $0[name] ?? .null } }
  }

  /// `instances` and `inputs`: rows, or columns by name.
  private func columnar(_ json: JSON, _ form: String) throws -> [Tensor] {
    switch json {
    case .array(let rows):
      if case .object? = rows.first { return try records(json, form) }
      return [try matrix(rows, form)]
    case .object(let members):
      return try named(members.map(\.key).filter { isKnown($0) }) { name in
        if case .array(let cells)? = json[name] { return cells }
        return [json[name] ?? .null]
      }
    default:
      throw PlatformError(
        .invalidArgument, "'\(form)' must be a list of rows, or an object of columns")
    }
  }

  /// Rows of numbers in the order of the features; a row of one number may stand without its brackets.
  private func matrix(_ rows: [JSON], _ form: String) throws -> Tensor {
    let width = rows.first?.array?.count ?? 1
    var cells: [JSON] = []
    for (index, row) in rows.enumerated() {
      let row = row.array ?? [row]
      guard row.count == width else {
        throw PlatformError(
          .invalidArgument,
          "row \(index + 1) of \(form) has \(row.count) values, but the first has \(width)")
      }
      cells += row
    }
    return try tensor("the rows of \(form)", cells, shape: [rows.count, width])
  }

  // MARK: Columns

  private func isKnown(_ name: String) -> Bool { type(of: name) != nil || isEntity(name) }

  private func isEntity(_ name: String) -> Bool { model.entities.contains(name) }

  /// Of a feature, an input or a key column of the model.
  private func type(of name: String) -> ColumnType? {
    if let feature = features.first(where: { $0.name == name }) { return feature.type }
    if let input = model.inputs.first(where: { $0.name == name }) { return input.type }
    for entity in model.entities {
      let keys = project.entity(entity)?.key ?? []
      guard keys.contains(name) || (name == entity && keys.count == 1) else { continue }
      let views = project.views.filter { $0.entity == entity }
      let column = keys.contains(name) ? name : keys[0]
      return views.lazy.compactMap { project.source($0.source)?.column(column)?.type }.first
    }
    return nil
  }

  private func named(
    _ names: [String], _ cells: (String) throws -> [JSON]
  ) throws -> [Tensor] {
    let hasAll = features.allSatisfy { names.contains($0.name) }
    return try names.filter { name in !hasAll || features.contains { $0.name == name } }.map {
      name in
      let cells = try cells(name)
      // Arrays of one length are a second dimension.
      if case .array(let first)? = cells.first(where: { $0 != .null }) {
        let width = first.count
        let flat = try cells.enumerated().flatMap { row, cell in
          guard let items = cell.array, items.count == width else {
            throw PlatformError(
              .invalidArgument,
              "row \(row + 1) of column '\(name)' has no \(width) elements, as the rows before have"
            )
          }
          return items
        }
        return try tensor(name, flat, shape: [cells.count, width])
      }
      return try tensor(name, cells, shape: [cells.count])
    }
  }

  private func tensor(_ name: String, _ cells: [JSON], shape: [Int]) throws -> Tensor {
    let found = cells.filter { $0 != .null }
    let type: TensorType
    if found.allSatisfy({ $0.bool != nil }), !found.isEmpty {
      type = .bool
    } else if found.allSatisfy({ $0.int != nil }) {
      type = .int64
    } else if found.allSatisfy({ $0.number != nil || $0.string.map(Self.isSpecial) ?? false }) {
      type = .fp64
    } else if found.allSatisfy({ $0.string != nil }) {
      type = .bytes
    } else {
      throw PlatformError(
        .invalidArgument,
        "the values of '\(name)' must be all numbers, all texts, or all true and false, with null where one is missing"
      )
    }
    var column = Column(name: name, values: ColumnValues(empty: type.columnType))
    for cell in cells { column.append(Self.value(cell, type)) }
    return Tensor(
      name: name, type: type, shape: shape, elements: column.values, presence: column.presence)
  }

  private static func isSpecial(_ text: String) -> Bool {
    text == "NaN" || text == "Infinity" || text == "-Infinity"
  }

  private static func value(_ cell: JSON, _ type: TensorType) -> Value {
    guard type == .fp64 else { return cell.scalar ?? .null }
    if let text = cell.string { return Double(text).map { .double($0) } ?? .null }
    return cell.number.map { .double($0) } ?? .null
  }
}

extension TensorType {
  fileprivate var columnType: ColumnType {
    switch self {
    case .bool: .bool
    case .fp64, .fp32, .fp16, .bf16: .double
    case .bytes: .string
    default: .int64
    }
  }
}

/// A CSV of a request (RFC 4180): short enough to be held whole.
enum CSVText {
  /// - Throws: `invalid_argument` with the line.
  static func rows(_ bytes: UnsafeBufferPointer<UInt8>) throws -> [[String]] {
    var rows: [[String]] = []
    var row: [String] = []
    var cell: [UInt8] = []
    var isQuoted = false
    var position = 0
    func text() throws -> String {
      guard let text = String(validating: cell, as: UTF8.self) else {
        throw PlatformError(.invalidArgument, "line \(rows.count + 1) of the CSV is not UTF-8")
      }
      return text
    }
    func endRow() throws {
      if row.isEmpty, cell.isEmpty { return }
      row.append(try text())
      guard row.count == rows.first?.count ?? row.count else {
        throw PlatformError(
          .invalidArgument,
          "line \(rows.count + 1) of the CSV has \(row.count) values, but the first has \(rows.first?.count ?? 0)"
        )
      }
      rows.append(row)
      row = []
      cell = []
    }
    while position < bytes.count {
      let byte = bytes[position]
      position += 1
      switch byte {
      case UInt8(ascii: "\"") where isQuoted:
        if position < bytes.count, bytes[position] == byte {
          cell.append(byte)
          position += 1
        } else {
          isQuoted = false
        }
      case _ where isQuoted: cell.append(byte)
      case UInt8(ascii: "\"") where cell.isEmpty: isQuoted = true
      case UInt8(ascii: ","):
        row.append(try text())
        cell = []
      case 10: try endRow()
      case 13: continue
      default: cell.append(byte)
      }
    }
    guard !isQuoted else {
      throw PlatformError(.invalidArgument, "the CSV ends within a quoted value")
    }
    try endRow()
    return rows
  }

  static func number(_ text: String) -> JSON? {
    var text = text
    let number = text.withUTF8 { DecimalNumber(text: $0) }
    return number.map { number in number.int64.map { .int($0) } ?? .double(number.double) }
  }

  /// Empty is missing, of texts as well.
  static func value(_ text: String, _ type: ColumnType?) -> JSON {
    if text.isEmpty { return .null }
    switch type {
    case .string, .timestamp: return .string(text)
    case .bool:
      switch text.lowercased() {
      case "true", "1": return .bool(true)
      case "false", "0": return .bool(false)
      default: return .string(text)
      }
    default: return number(text) ?? .string(text)
    }
  }
}
