import Core

/// The elements of a tensor in JSON: flat and row major, or nested as the shape says; read without a tree.
///
/// A null is a missing element.
struct TensorJSON {
  private let name: String
  private let type: TensorType
  private let shape: [Int]
  private let count: Int
  /// Whether the numbers stand in arrays of arrays; nil before the first.
  private var isNested: Bool?
  private(set) var elements: ColumnValues
  private(set) var presence: [UInt8]?
  private var bools: [Bool] = []
  private var integers: [Int64] = []
  private var doubles: [Double] = []
  private var texts: [String] = []
  private var read = 0

  /// Reads the array at the scanner's position.
  init(
    _ scanner: inout JSONScanner, name: String, type: TensorType, shape: [Int], count: Int
  ) throws {
    self.name = name
    self.type = type
    self.shape = shape
    self.count = count
    elements = .bool([])
    switch type {
    case .bool: bools.reserveCapacity(min(count, 4_096))
    case .fp16, .fp32, .fp64, .bf16: doubles.reserveCapacity(min(count, 4_096))
    case .bytes: texts.reserveCapacity(min(count, 4_096))
    default: integers.reserveCapacity(min(count, 4_096))
    }
    guard try scanner.kind() == .array else {
      throw PlatformError(
        .invalidArgument, "the data of tensor '\(name)' must be an array\(scanner.place)")
    }
    try array(&scanner, level: 0)
    guard read == count else {
      throw PlatformError(
        .invalidArgument,
        "tensor '\(name)' of shape \(shape) has \(count) elements, but \(read) are sent")
    }
    elements =
      switch type {
      case .bool: .bool(bools)
      case .fp16, .fp32, .fp64, .bf16: .double(doubles)
      case .bytes: .string(texts)
      // UINT64 beyond int64 went over to doubles.
      default: doubles.isEmpty ? .int64(integers) : .double(doubles)
      }
  }

  private mutating func array(_ scanner: inout JSONScanner, level: Int) throws {
    try scanner.checkDepth(level)
    try scanner.expect(UInt8(ascii: "["))
    scanner.skipBlanks()
    if scanner.take(UInt8(ascii: "]")) { return try closed(0, level, scanner) }
    var items = 0
    repeat {
      scanner.skipBlanks()
      if scanner.current == UInt8(ascii: "[") {
        guard isNested != false, level + 1 < shape.count else {
          throw ragged(scanner)
        }
        isNested = true
        try array(&scanner, level: level + 1)
      } else {
        if isNested == nil { isNested = false }
        guard level == (isNested == true ? shape.count - 1 : 0) else { throw ragged(scanner) }
        guard read < count else {
          throw PlatformError(
            .invalidArgument,
            "tensor '\(name)' of shape \(shape) has \(count) elements, but more are sent\(scanner.place)"
          )
        }
        try element(&scanner)
      }
      items += 1
      scanner.skipBlanks()
    } while scanner.take(UInt8(ascii: ","))
    try scanner.expect(UInt8(ascii: "]"))
    try closed(items, level, scanner)
  }

  /// An array within arrays has as many items as its dimension.
  private func closed(_ items: Int, _ level: Int, _ scanner: JSONScanner) throws {
    if isNested == true || level > 0, items != shape[level] { throw ragged(scanner) }
  }

  private func ragged(_ scanner: JSONScanner) -> PlatformError {
    PlatformError(
      .invalidArgument,
      "the data of tensor '\(name)' must be flat, or nested as its shape \(shape)\(scanner.place)")
  }

  private mutating func element(_ scanner: inout JSONScanner) throws {
    if scanner.current == UInt8(ascii: "n") {
      try scanner.null()
      return missing()
    }
    switch type {
    case .bool: try bool(&scanner)
    case .bytes:
      guard try scanner.kind() == .string else { throw wrong(scanner, "a text") }
      texts.append(try scanner.text(try scanner.string()))
    case .fp16, .fp32, .fp64, .bf16: try double(&scanner)
    default: try integer(&scanner)
    }
    read += 1
    presence?.append(0)
  }

  private mutating func missing() {
    if presence == nil { presence = [UInt8](repeating: 0, count: read) }
    presence?.append(Presence.null.rawValue)
    read += 1
    switch type {
    case .bool: bools.append(false)
    case .bytes: texts.append("")
    case .fp16, .fp32, .fp64, .bf16: doubles.append(.nan)
    default: if doubles.isEmpty { integers.append(0) } else { doubles.append(.nan) }
    }
  }

  private mutating func bool(_ scanner: inout JSONScanner) throws {
    switch try scanner.kind() {
    case .bool: bools.append(try scanner.bool())
    case .number:
      let number = try scanner.number().int64
      guard number == 0 || number == 1 else { throw wrong(scanner, "true or false") }
      bools.append(number == 1)
    default: throw wrong(scanner, "true or false")
    }
  }

  @inline(__always)
  private mutating func double(_ scanner: inout JSONScanner) throws {
    switch try scanner.kind() {
    case .number: doubles.append(try scanner.number().double)
    case .string:
      switch try scanner.text(try scanner.string()) {
      case "NaN": doubles.append(.nan)
      case "Infinity": doubles.append(.infinity)
      case "-Infinity": doubles.append(-.infinity)
      default: throw wrong(scanner, "a number")
      }
    default: throw wrong(scanner, "a number")
    }
  }

  private mutating func integer(_ scanner: inout JSONScanner) throws {
    guard try scanner.kind() == .number else { throw wrong(scanner, "a whole number") }
    let number = try scanner.number()
    let whole = number.int64 ?? Int64(exactly: number.double)
    if let whole, type.integers?.contains(whole) ?? false {
      if doubles.isEmpty { integers.append(whole) } else { doubles.append(Double(whole)) }
      return
    }
    guard type == .uint64, number.double >= 0, number.double <= 0x1p64,
      number.double == number.double.rounded()
    else { throw wrong(scanner, "a whole number that fits") }
    if doubles.isEmpty { doubles = integers.map { Double($0) } }
    doubles.append(number.double)
  }

  private func wrong(_ scanner: JSONScanner, _ expected: String) -> PlatformError {
    PlatformError(
      .invalidArgument,
      "element \(read + 1) of tensor '\(name)' is not \(expected), as \(type.rawValue) wants\(scanner.place)"
    )
  }
}

extension JSONScanner {
  /// Ends a message with where the reader stands.
  var place: String { " (byte \(position) of the JSON)" }
}
