import Core

/// Reads one JSON array into the row of an array column that was begun last.
struct ArrayReader {
  let column: ColumnDefinition
  private let element: ScalarType
  private let length: Int?

  /// - Parameter column: of an array type.
  init(_ column: ColumnDefinition) {
    self.column = column
    element = column.type.scalar
    length = if case .array(_, let length) = column.type { length } else { nil }
  }

  /// Returns why the array is none of the column's; it has been passed over then, and the row has no meaning.
  func read(
    _ scanner: inout JSONScanner, into builder: ColumnBuilder, zone: inout ZoneOffsets.Reader?
  ) throws(JSONFault) -> RowFault? {
    let start = scanner.position
    var trouble: ArrayTrouble?
    builder.beginList()
    try scanner.expect(UInt8(ascii: "["))
    scanner.skipBlanks()
    if !scanner.take(UInt8(ascii: "]")) {
      repeat {
        scanner.skipBlanks()
        let found = try readElement(&scanner, builder, &zone)
        trouble = trouble ?? found
        scanner.skipBlanks()
      } while scanner.take(UInt8(ascii: ","))
      try scanner.expect(UInt8(ascii: "]"))
    }
    builder.endList()
    trouble = trouble ?? self.trouble(ofCount: builder.elementCount)
    return trouble.map { trouble in
      let end = min(scanner.position, start + 400)
      return .array(
        column: column.name, value: String(decoding: scanner.slice(start..<end), as: UTF8.self),
        type: column.type, trouble)
    }
  }

  func trouble(ofCount count: Int) -> ArrayTrouble? {
    if let length, count != length { return .length(count) }
    return count > Limits.arrayElements ? .tooLong : nil
  }

  private func readElement(
    _ scanner: inout JSONScanner, _ builder: ColumnBuilder, _ zone: inout ZoneOffsets.Reader?
  ) throws(JSONFault) -> ArrayTrouble? {
    switch (element, try scanner.kind()) {
    case (_, .null):
      try scanner.null()
      return .nullElement
    case (.double, .number): builder.add(try scanner.number().double)
    case (.int64, .number):
      guard let whole = try scanner.number().integral else { return .element }
      builder.add(whole)
    case (.string, .string): builder.add(try scanner.text(try scanner.string()))
    case (.bool, .bool): builder.add(try scanner.bool())
    case (.double, .string):
      switch try scanner.text(try scanner.string()) {
      case "NaN": builder.add(Double.nan)
      case "Infinity": builder.add(Double.infinity)
      case "-Infinity": builder.add(-Double.infinity)
      default: return .element
      }
    case (.timestamp, .string):
      let string = try scanner.string()
      switch instant(scanner.slice(string.range), zone: &zone) {
      case .success(let time): builder.add(time)
      case .failure(.withoutZone): return .timeWithoutZone
      case .failure(.malformed):
        if !string.isPlain { _ = try scanner.text(string) }
        return .element
      }
    default:
      try scanner.skipValue(depth: 2)
      return .element
    }
    return nil
  }
}

/// What keeps an array out of a column.
enum ArrayTrouble: Equatable {
  case nullElement
  /// An element of another type.
  case element
  case length(Int)
  case tooLong
  case timeWithoutZone

  func text(_ type: ColumnType) -> String {
    switch self {
    case .nullElement: "has a null element, but elements of an array are never null"
    case .element: "is not \(type.expectation)"
    case .length(let count):
      "has \(count) element\(count == 1 ? "" : "s"), but is declared \(type.rawValue)"
    case .tooLong: "has more than \(Limits.arrayElements) elements"
    case .timeWithoutZone:
      "has a time without a zone; send it with Z or an offset, or declare the source's `zone`"
    }
  }
}

extension Validator {
  /// The lists of a file as cells of an array column; rows that are not of its type are told to `note`.
  static func arrays(
    _ lists: ListValues, _ found: Column, as definition: ColumnDefinition,
    broken: [Int: String], note: (Int, RowFault) -> Void
  ) -> Column? {
    guard case .array(let element, let length) = definition.type else { return nil }
    let reader = ArrayReader(definition)
    var presence = found.presence ?? [UInt8](repeating: 0, count: found.count)
    func refuse(_ row: Int, _ trouble: ArrayTrouble, _ value: String) {
      presence[row] = Presence.null.rawValue
      note(
        row, .array(column: found.name, value: value, type: definition.type, trouble))
    }
    for (row, text) in broken { refuse(row, .nullElement, text) }
    for row in 0..<lists.count where presence[row] == 0 {
      if let trouble = reader.trouble(ofCount: lists.range(row).count) {
        refuse(row, trouble, JSON(Value.list(lists[row])).text)
      }
    }
    var elements = lists.elements
    if case .double(let all) = elements, element == .int64 {
      for row in 0..<lists.count
      where presence[row] == 0
        && all[lists.range(row)].contains(where: { Int64(exactly: $0) == nil })
      {
        refuse(row, .element, JSON(Value.list(lists[row])).text)
      }
    }
    let sound = lists.cleared(where: presence)
    guard let converted = sound.elements.converted(to: ColumnType(element)) else { return nil }
    elements = converted
    return Column(
      name: found.name,
      values: .list(ListValues(elements: elements, offsets: sound.offsets, length: length)),
      presence: presence.contains { $0 != 0 } ? presence : nil)
  }
}
