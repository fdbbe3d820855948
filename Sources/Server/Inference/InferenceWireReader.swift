import Core

/// Reads a `ModelInferRequest` of raw contents without the generated types between; what answers nil met something that the
/// generated code knows, or refuses with its reason.
package struct InferenceWireReader {
  package struct Request {
    package var model = ""
    package var version = ""
    package var call = InferenceCall()
  }

  private let bytes: UnsafeRawBufferPointer
  private var position: Int
  private let end: Int

  private init(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>) {
    self.bytes = bytes
    position = range.lowerBound
    end = range.upperBound
  }

  package static func read(_ bytes: UnsafeRawBufferPointer) -> Request? {
    var reader = InferenceWireReader(bytes, 0..<bytes.count)
    return reader.request()
  }

  private var isAtEnd: Bool { position == end }

  private mutating func request() -> Request? {
    var request = Request()
    var raws: [Range<Int>] = []
    while !isAtEnd {
      switch tag() {
      case 0x0A:
        guard let model = text() else { return nil }
        request.model = model
      case 0x12:
        guard let version = text() else { return nil }
        request.version = version
      case 0x1A:
        guard let id = text(), !id.isEmpty, id.utf8.count <= Limits.eventIDCharacters else {
          return nil
        }
        request.call.id = id
      case 0x2A:
        guard request.call.inputs.count < Limits.inferenceTensors, let input = input() else {
          return nil
        }
        request.call.inputs.append(input)
      case 0x32:
        guard request.call.outputs.count < Limits.inferenceTensors, let output = output() else {
          return nil
        }
        request.call.outputs.append(output)
      case 0x3A:
        guard raws.count < Limits.inferenceTensors, let raw = message() else { return nil }
        raws.append(raw)
      // Parameters, and whatever comes to be.
      default: return nil
      }
    }
    guard !request.model.isEmpty, raws.count == request.call.inputs.count else { return nil }
    for (index, raw) in raws.enumerated() {
      let input = request.call.inputs[index]
      let part = UnsafeRawBufferPointer(rebasing: bytes[raw])
      guard let count = try? Tensor.count(of: input.shape, input.name),
        let elements = try? TensorBytes.elements(
          part, of: input.type, count: count, name: input.name)
      else { return nil }
      request.call.inputs[index].elements = elements
    }
    guard (try? request.call.checkNames()) != nil else { return nil }
    return request
  }

  /// Without its elements.
  private mutating func input() -> Tensor? {
    guard let range = message() else { return nil }
    var reader = InferenceWireReader(bytes, range)
    var tensor = Tensor(name: "", type: .fp64, shape: [], elements: .double([]))
    var hasType = false
    while !reader.isAtEnd {
      switch reader.tag() {
      case 0x0A:
        guard let name = reader.text() else { return nil }
        tensor.name = name
      case 0x12:
        guard let type = reader.text().flatMap(TensorType.init(rawValue:)) else { return nil }
        tensor.type = type
        hasType = true
      case 0x1A:
        guard let shape = reader.message() else { return nil }
        var dimensions = InferenceWireReader(bytes, shape)
        while !dimensions.isAtEnd {
          guard let dimension = dimensions.varint(), tensor.shape.count <= Limits.tensorDimensions
          else { return nil }
          tensor.shape.append(Int(truncatingIfNeeded: dimension))
        }
      default: return nil
      }
    }
    return hasType ? tensor : nil
  }

  private mutating func output() -> InferenceCall.Output? {
    guard let range = message() else { return nil }
    var reader = InferenceWireReader(bytes, range)
    guard reader.tag() == 0x0A, let name = reader.text(), reader.isAtEnd else { return nil }
    return InferenceCall.Output(name: name)
  }

  // MARK: The wire

  /// 0 where no tag of one byte follows.
  private mutating func tag() -> UInt8 {
    guard position < end, bytes[position] < 0x80 else { return 0 }
    position += 1
    return bytes[position - 1]
  }

  private mutating func varint() -> UInt64? {
    var value: UInt64 = 0
    for group in 0..<10 as Range<UInt64> {
      guard position < end else { return nil }
      let byte = bytes[position]
      position += 1
      value |= UInt64(byte & 0x7F) << (7 * group)
      if byte < 0x80 { return value }
    }
    return nil
  }

  private mutating func message() -> Range<Int>? {
    guard let length = varint(), length <= UInt64(end - position) else { return nil }
    let range = position..<position + Int(length)
    position = range.upperBound
    return range
  }

  private mutating func text() -> String? {
    guard let range = message() else { return nil }
    return String(validating: bytes[range], as: UTF8.self)
  }
}
