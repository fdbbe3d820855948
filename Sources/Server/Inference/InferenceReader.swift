import Core

/// Reads an inference request from a REST body: JSON without a tree, and the binary tensors behind it.
package struct InferenceReader {
  /// An input before its bytes are known.
  private struct Input {
    var name: String?
    var type: TensorType?
    var shape: [Int]?
    var parameters: JSON?
    /// Where its JSON data stands.
    var data: Range<Int>?
    var tensor: Tensor?
  }

  private var scanner: JSONScanner
  private var call = InferenceCall()
  private var inputs: [Input] = []

  private init(_ bytes: UnsafeBufferPointer<UInt8>) { scanner = JSONScanner(bytes) }

  /// - Parameters:
  ///   - body: decompressed.
  ///   - header: the bytes of JSON that `Inference-Header-Content-Length` states; nil is all of them.
  /// - Throws: `invalid_argument` with what is wrong and where.
  package static func read(
    _ body: UnsafeRawBufferPointer, header: Int?
  ) throws -> InferenceCall {
    let length = header ?? body.count
    guard length <= body.count else {
      throw PlatformError(
        .invalidArgument,
        "Inference-Header-Content-Length is \(length), but the body has only \(body.count) bytes")
    }
    let json = UnsafeRawBufferPointer(rebasing: body[..<length])
    var reader = InferenceReader(json.bindMemory(to: UInt8.self))
    do {
      try reader.request()
    } catch let fault as JSONFault {
      throw PlatformError(
        .invalidArgument, "not valid JSON at byte \(fault.offset): \(fault.message)")
    }
    let rest = UnsafeRawBufferPointer(rebasing: body[length...])
    try reader.finish(rest)
    try reader.call.checkNames()
    return reader.call
  }

  // MARK: The request

  private mutating func request() throws {
    scanner.skipBlanks()
    guard try scanner.kind() == .object else {
      throw PlatformError(.invalidArgument, "an inference request is a JSON object with 'inputs'")
    }
    try object { reader, name in try reader.member(name) }
    scanner.skipBlanks()
    guard scanner.isAtEnd else {
      throw JSONFault("text after the end of the JSON value", at: scanner.position)
    }
  }

  private mutating func member(_ name: String) throws {
    switch name {
    case "id": call.id = try identifier()
    case "parameters": call.parameters = try parameters("the request")
    case "inputs":
      inputs = []
      try list("inputs") { reader in
        let input = try reader.input()
        reader.inputs.append(input)
        return reader.inputs.count
      }
    case "outputs":
      call.outputs = []
      try list("outputs") { reader in
        let output = try reader.output()
        reader.call.outputs.append(output)
        return reader.call.outputs.count
      }
    // `model_name` and `model_version` stand in the path; others are for servers of another kind.
    default: try scanner.skipValue(depth: 1)
    }
  }

  private mutating func identifier() throws -> String? {
    let id: String
    switch try scanner.kind() {
    case .null:
      try scanner.null()
      return nil
    case .string: id = try scanner.text(try scanner.string())
    case .number:
      guard let number = try scanner.number().int64 else { throw InferenceReader.noIdentifier }
      id = String(number)
    default: throw InferenceReader.noIdentifier
    }
    return try InferenceReader.checked(id: id)
  }

  private static let noIdentifier = PlatformError(.invalidArgument, "'id' must be a text")

  /// Nil for an empty one.
  static func checked(id: String) throws(PlatformError) -> String? {
    guard id.utf8.count <= Limits.eventIDCharacters else {
      throw PlatformError(
        .invalidArgument, "'id' is longer than \(Limits.eventIDCharacters) characters")
    }
    return id.isEmpty ? nil : id
  }

  private mutating func parameters(_ whose: String) throws -> JSON {
    let start = scanner.position
    try scanner.skipValue(depth: 3)
    let value = try JSON(parsing: scanner.slice(start..<scanner.position))
    switch value {
    case .object: return value
    case .null: return .object([JSON.Member]())
    default:
      throw PlatformError(
        .invalidArgument, "the parameters of \(whose) must be an object\(scanner.place)")
    }
  }

  private mutating func list(
    _ name: String, _ item: (inout InferenceReader) throws -> Int
  ) throws {
    if try scanner.kind() == .null { return try scanner.null() }
    guard try scanner.kind() == .array else {
      throw PlatformError(.invalidArgument, "'\(name)' must be a list\(scanner.place)")
    }
    try array { reader in
      guard try reader.scanner.kind() == .object else {
        throw PlatformError(
          .invalidArgument, "each of '\(name)' must be an object\(reader.scanner.place)")
      }
      guard try item(&reader) <= Limits.inferenceTensors else {
        throw PlatformError(
          .invalidArgument, "more than \(Limits.inferenceTensors) '\(name)' are sent")
      }
    }
  }

  // MARK: Inputs and outputs

  private mutating func input() throws -> Input {
    var input = Input()
    try object { reader, name in
      switch name {
      case "name": input.name = try reader.text("name")
      case "datatype":
        input.type = try TensorType(
          named: try reader.text("datatype"), of: input.name ?? "of no name yet")
      case "shape": input.shape = try reader.shape()
      case "parameters": input.parameters = try reader.parameters("an input")
      case "data": try reader.data(&input)
      default: try reader.scanner.skipValue(depth: 3)
      }
    }
    return input
  }

  /// Read at once where type and shape stand before it, as every client writes them; else where it ends.
  private mutating func data(_ input: inout Input) throws {
    let start = scanner.position
    guard let name = input.name, let type = input.type, let shape = input.shape else {
      try scanner.skipValue(depth: 3)
      input.data = start..<scanner.position
      return
    }
    input.tensor = try tensor(name, type, shape)
    input.data = start..<scanner.position
  }

  private mutating func tensor(_ name: String, _ type: TensorType, _ shape: [Int]) throws -> Tensor
  {
    let count = try Tensor.count(of: shape, name)
    let data = try TensorJSON(&scanner, name: name, type: type, shape: shape, count: count)
    return Tensor(
      name: name, type: type, shape: shape, elements: data.elements, presence: data.presence)
  }

  private mutating func shape() throws -> [Int] {
    guard try scanner.kind() == .array else {
      throw PlatformError(
        .invalidArgument, "a shape is a list of whole numbers, as in [2, 20]\(scanner.place)")
    }
    var shape: [Int] = []
    try array { reader in
      guard try reader.scanner.kind() == .number,
        let dimension = try reader.scanner.number().int64, shape.count <= Limits.tensorDimensions
      else {
        throw PlatformError(
          .invalidArgument,
          "a shape is a list of at most \(Limits.tensorDimensions) whole numbers\(reader.scanner.place)"
        )
      }
      shape.append(Int(dimension))
    }
    return shape
  }

  private mutating func output() throws -> InferenceCall.Output {
    var output = InferenceCall.Output(name: "")
    try object { reader, name in
      switch name {
      case "name": output.name = try reader.text("name")
      case "parameters":
        let parameters = try reader.parameters("an output")
        output.isBinary = parameters["binary_data"]?.bool
        for unknown in ["shared_memory_region", "classification"] {
          guard let given = parameters[unknown], given != .int(0) else { continue }
          throw InferenceReader.unsupported(unknown)
        }
      default: try reader.scanner.skipValue(depth: 3)
      }
    }
    return output
  }

  static func unsupported(_ parameter: String) -> PlatformError {
    PlatformError(
      .invalidArgument,
      "the parameter '\(parameter)' is not among the extensions of this server; GET /v2 lists them")
  }

  private mutating func text(_ what: String) throws -> String {
    guard try scanner.kind() == .string else {
      throw PlatformError(.invalidArgument, "'\(what)' must be a text\(scanner.place)")
    }
    return try scanner.text(try scanner.string())
  }

  // MARK: Binary data

  /// Takes the tensors' bytes apart, in the order of the inputs.
  private mutating func finish(_ binary: UnsafeRawBufferPointer) throws {
    var position = 0
    for index in inputs.indices {
      let input = inputs[index]
      guard let name = input.name, let type = input.type, let shape = input.shape else {
        throw PlatformError(
          .invalidArgument,
          "input \(index + 1) lacks its \(input.name == nil ? "name" : input.type == nil ? "datatype" : "shape")"
        )
      }
      if input.parameters?["shared_memory_region"] != nil {
        throw InferenceReader.unsupported("shared_memory_region")
      }
      guard let given = input.parameters?["binary_data_size"], given != .null else {
        call.inputs.append(try input.tensor ?? late(input, name, type, shape))
        continue
      }
      let size = try InferenceReader.size(given, input.data != nil, name)
      guard size <= binary.count - position else {
        throw PlatformError(
          .invalidArgument,
          "tensor '\(name)' states \(size) bytes of binary data, but \(binary.count - position) are left in the body"
        )
      }
      let bytes = UnsafeRawBufferPointer(rebasing: binary[position..<position + size])
      position += size
      let count = try Tensor.count(of: shape, name)
      call.inputs.append(
        Tensor(
          name: name, type: type, shape: shape,
          elements: try TensorBytes.elements(bytes, of: type, count: count, name: name)))
    }
    guard position == binary.count else {
      throw PlatformError(
        .invalidArgument,
        "\(binary.count - position) bytes of the body belong to no tensor; each input's 'binary_data_size' states its own"
      )
    }
  }

  private static func size(
    _ given: JSON, _ hasData: Bool, _ name: String
  ) throws(PlatformError) -> Int {
    guard !hasData else {
      throw PlatformError(
        .invalidArgument, "tensor '\(name)' has both 'data' and 'binary_data_size'; send one")
    }
    guard let size = given.int, size >= 0 else {
      throw PlatformError(
        .invalidArgument,
        "'binary_data_size' of tensor '\(name)' must be a number of bytes, not \(given.text)")
    }
    return Int(size)
  }

  /// The tensor of an input whose data stood before its type or shape.
  private mutating func late(
    _ input: Input, _ name: String, _ type: TensorType, _ shape: [Int]
  ) throws -> Tensor {
    guard let range = input.data else {
      throw PlatformError(
        .invalidArgument,
        "tensor '\(name)' has neither 'data' nor the parameter 'binary_data_size'")
    }
    scanner.position = range.lowerBound
    do {
      return try tensor(name, type, shape)
    } catch let fault as JSONFault {
      throw PlatformError(
        .invalidArgument, "not valid JSON at byte \(fault.offset): \(fault.message)")
    }
  }

  // MARK: Forms

  @inline(__always)
  private mutating func object(
    _ member: (inout InferenceReader, String) throws -> Void
  ) throws {
    try scanner.expect(UInt8(ascii: "{"))
    scanner.skipBlanks()
    if scanner.take(UInt8(ascii: "}")) { return }
    repeat {
      scanner.skipBlanks()
      let name = try scanner.text(try scanner.string())
      scanner.skipBlanks()
      try scanner.expect(UInt8(ascii: ":"))
      scanner.skipBlanks()
      try member(&self, name)
      scanner.skipBlanks()
    } while scanner.take(UInt8(ascii: ","))
    try scanner.expect(UInt8(ascii: "}"))
  }

  @inline(__always)
  private mutating func array(_ item: (inout InferenceReader) throws -> Void) throws {
    try scanner.expect(UInt8(ascii: "["))
    scanner.skipBlanks()
    if scanner.take(UInt8(ascii: "]")) { return }
    repeat {
      scanner.skipBlanks()
      try item(&self)
      scanner.skipBlanks()
    } while scanner.take(UInt8(ascii: ","))
    try scanner.expect(UInt8(ascii: "]"))
  }
}
