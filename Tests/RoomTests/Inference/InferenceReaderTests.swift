import Core
import Server
import Testing

/// A request as text, and binary tensors behind it.
enum InferenceSample {
  static func read(
    _ json: String, _ binary: [UInt8] = [], header: Int? = nil
  ) throws -> InferenceCall {
    let body = Array(json.utf8) + binary
    let stated = binary.isEmpty ? header : header ?? json.utf8.count
    return try body.withUnsafeBytes { try InferenceReader.read($0, header: stated) }
  }

  static func tensor(_ inside: String) throws -> Tensor {
    let call = try read("{\"inputs\":[{\"name\":\"x\",\(inside)}]}")
    return try #require(call.inputs.first)
  }

  static func error(_ body: () throws -> some Any) -> PlatformError? {
    do {
      _ = try body()
      return nil
    } catch { return error as? PlatformError }
  }
}

@Suite("Inference requests")
struct InferenceReaderTests {
  @Test("id, parameters, inputs and outputs are read")
  func whole() throws {
    let call = try InferenceSample.read(
      """
      {"id": "42", "parameters": {"timeout": 250, "binary_data_output": true}, "inputs": [
        {"name": "a", "shape": [2, 2], "datatype": "UINT32", "data": [1, 2, 3, 4]},
        {"name": "b", "shape": [2], "datatype": "BOOL", "data": [true, 0]}],
       "outputs": [{"name": "p"}, {"name": "q", "parameters": {"binary_data": false}}]}
      """)
    #expect(call.id == "42")
    #expect(try call.timeout() == Span(microseconds: 250))
    #expect(call.wantsBinary)
    #expect(
      call.inputs == [
        Tensor(name: "a", type: .uint32, shape: [2, 2], elements: .int64([1, 2, 3, 4])),
        Tensor(name: "b", type: .bool, shape: [2], elements: .bool([true, false])),
      ])
    #expect(call.outputs.map(\.name) == ["p", "q"])
    #expect(call.outputs.map(\.isBinary) == [nil, false])
  }

  @Test("a priority is a word, or Triton's number")
  func priorities() throws {
    for (text, priority) in [
      ("0", nil), ("1", .high), ("7", .low), (#""high""#, .high), (#""LOW""#, .low), ("null", nil),
    ] as [(String, CallPriority?)] {
      let call = try InferenceSample.read(#"{"inputs":[],"parameters":{"priority":\#(text)}}"#)
      #expect(try call.priority() == priority)
    }
    for text in ["-1", "true", #""hihg""#] {
      let call = try InferenceSample.read(#"{"inputs":[],"parameters":{"priority":\#(text)}}"#)
      #expect(InferenceSample.error { try call.priority() }?.code == .invalidArgument)
    }
  }

  static let written: [(text: String, elements: ColumnValues)] = [
    (#""datatype":"FP64","shape":[2],"data":[1,2.5]"#, .double([1, 2.5])),
    (#""datatype":"FP32","shape":[2,1],"data":[[1e3],[-0.5]]"#, .double([1_000, -0.5])),
    (#""datatype":"FP64","shape":[1],"data":["Infinity"]"#, .double([.infinity])),
    (#""datatype":"INT8","shape":[2],"data":[-128,127]"#, .int64([-128, 127])),
    (#""datatype":"INT64","shape":[1],"data":[9223372036854775807]"#, .int64([.max])),
    (#""datatype":"INT32","shape":[1],"data":[3.0]"#, .int64([3])),
    (#""datatype":"UINT64","shape":[2],"data":[1,18446744073709551615]"#, .double([1, 0x1p64])),
    (#""datatype":"BYTES","shape":[2],"data":["a","東\u00e9"]"#, .string(["a", "東é"])),
    (#""shape":[2],"data":[1,2],"datatype":"FP64""#, .double([1, 2])),
    (#""data":[[1,2],[3,4]],"datatype":"INT16","shape":[2,2]"#, .int64([1, 2, 3, 4])),
    (#""datatype":"FP64","shape":[0,3],"data":[]"#, .double([])),
  ]

  @Test(
    "elements of each datatype are read, flat and nested, wherever they stand", arguments: written)
  func datatypes(text: String, elements: ColumnValues) throws {
    #expect(try InferenceSample.tensor(text).elements == elements)
  }

  @Test("a null is a missing element")
  func nulls() throws {
    let tensor = try InferenceSample.tensor(#""datatype":"INT64","shape":[3],"data":[1,null,3]"#)
    #expect(tensor.elements == .int64([1, 0, 3]))
    #expect(tensor.presence == [0, 1, 0])
  }

  @Test("binary tensors are taken from behind the JSON, in the order of the inputs")
  func binary() throws {
    let call = try InferenceSample.read(
      """
      {"inputs":[{"name":"a","shape":[2],"datatype":"FP32","parameters":{"binary_data_size":8}},
       {"name":"j","shape":[1],"datatype":"INT8","data":[5]},
       {"name":"b","shape":[2],"datatype":"BYTES","parameters":{"binary_data_size":11}}]}
      """, [0, 0, 0x80, 0x3F, 0, 0, 0x20, 0xC0] + [2, 0, 0, 0, 0xC3, 0xA9] + [1, 0, 0, 0, 0x7A])
    #expect(
      call.inputs.map(\.elements) == [.double([1, -2.5]), .int64([5]), .string(["é", "z"])])
  }

  static let encodings: [(type: TensorType, bytes: [UInt8], elements: ColumnValues)] = [
    (.bool, [0, 1], .bool([false, true])),
    (.int8, [0xFF], .int64([-1])), (.uint8, [0xFF], .int64([255])),
    (.int16, [0xFE, 0xFF], .int64([-2])), (.uint16, [0xFE, 0xFF], .int64([65_534])),
    (.int32, [0, 0, 0, 0x80], .int64([Int64(Int32.min)])),
    (.uint32, [0, 0, 0, 0x80], .int64([0x8000_0000])),
    (.int64, [1, 0, 0, 0, 0, 0, 0, 0x80], .int64([.min + 1])),
    (.uint64, [0, 0, 0, 0, 0, 0, 0, 0x80], .double([0x1p63])),
    (.fp16, [0, 0x3C, 0, 0xC0, 1, 0, 0, 0x7C], .double([1, -2, 0x1p-24, .infinity])),
    (.bf16, [0x80, 0x3F, 0x20, 0xC0], .double([1, -2.5])),
    (.fp32, [0, 0, 0xC0, 0x7F], .double([.nan])),
    (.fp64, [0, 0, 0, 0, 0, 0, 0xF8, 0x3F], .double([1.5])),
  ]

  @Test("every datatype has its bytes", arguments: encodings)
  func bytes(type: TensorType, bytes: [UInt8], elements: ColumnValues) throws {
    let read = try bytes.withUnsafeBytes {
      try TensorBytes.elements($0, of: type, count: elements.count, name: "x")
    }
    if case .double(let all) = elements, case .double(let found) = read, all[0].isNaN {
      #expect(found.count == 1 && found[0].isNaN)
    } else {
      #expect(read == elements)
    }
  }

  @Test("what is written as bytes is read back")
  func thereAndBack() throws {
    let tensors = [
      Tensor(name: "d", type: .fp64, shape: [2], elements: .double([0.1, -.infinity])),
      Tensor(name: "i", type: .int64, shape: [1], elements: .int64([-7])),
      Tensor(name: "b", type: .bool, shape: [2], elements: .bool([true, false])),
      Tensor(name: "s", type: .bytes, shape: [3], elements: .string(["", "東京", "x"])),
    ]
    for tensor in tensors {
      var bytes: [UInt8] = []
      TensorBytes.append(tensor, to: &bytes)
      let read = try bytes.withUnsafeBytes {
        try TensorBytes.elements($0, of: tensor.type, count: tensor.elements.count, name: "x")
      }
      #expect(read == tensor.elements)
    }
  }

  static let refused: [(json: String, reason: String)] = [
    ("", "but the text ends"), ("[]", "is a JSON object"), ("{", "expected"),
    ("{} x", "text after the end"), (#"{"inputs":{}}"#, "must be a list"),
    (#"{"inputs":[3]}"#, "must be an object"),
    (#"{"inputs":[{"shape":[1],"datatype":"FP32","data":[1]}]}"#, "lacks its name"),
    (#"{"inputs":[{"name":"x","datatype":"FP32","data":[1]}]}"#, "lacks its shape"),
    (#"{"inputs":[{"name":"x","shape":[1],"data":[1]}]}"#, "lacks its datatype"),
    (#"{"inputs":[{"name":"x","shape":[1],"datatype":"FP32"}]}"#, "neither 'data' nor"),
    (#"{"inputs":[{"name":"x","shape":[1],"datatype":"FLOAT"}]}"#, "unknown datatype"),
    (#"{"inputs":[{"name":"x","shape":[1],"datatype":"FP3","data":[1]}]}"#, "did you mean"),
    (#"{"inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[1]}]}"#, "1 are sent"),
    (#"{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1,2]}]}"#, "more are sent"),
    (#"{"inputs":[{"name":"x","shape":[-1],"datatype":"FP32","data":[1]}]}"#, "cannot have"),
    (#"{"inputs":[{"name":"x","shape":[],"datatype":"FP32","data":[1]}]}"#, "empty shape"),
    (
      #"{"inputs":[{"name":"x","shape":[9223372036854775807,3],"datatype":"FP32","data":[1]}]}"#,
      "cannot have"
    ),
    (#"{"inputs":[{"name":"x","shape":[1.5],"datatype":"FP32","data":[1]}]}"#, "whole numbers"),
    (
      #"{"inputs":[{"name":"x","shape":[2,2],"datatype":"FP32","data":[[1,2,3],[4]]}]}"#,
      "nested as its shape"
    ),
    (
      #"{"inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[1,[2]]}]}"#,
      "nested as its shape"
    ),
    (
      #"{"inputs":[{"name":"x","shape":[1],"datatype":"INT8","data":[128]}]}"#,
      "whole number that fits"
    ),
    (
      #"{"inputs":[{"name":"x","shape":[1],"datatype":"INT8","data":[1.5]}]}"#,
      "whole number that fits"
    ),
    (
      #"{"inputs":[{"name":"x","shape":[1],"datatype":"BOOL","data":["yes"]}]}"#,
      "not true or false"
    ),
    (#"{"inputs":[{"name":"x","shape":[1],"datatype":"BYTES","data":[1]}]}"#, "not a text"),
    (#"{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":7}]}"#, "must be an array"),
    (
      #"{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1]},{"name":"x","shape":[1],"datatype":"FP32","data":[1]}]}"#,
      "sent twice"
    ),
    (
      #"{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","parameters":{"binary_data_size":4}}]}"#,
      "0 are left"
    ),
    (
      #"{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1],"parameters":{"binary_data_size":4}}]}"#,
      "send one"
    ),
    (
      #"{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","parameters":{"binary_data_size":-4}}]}"#,
      "number of bytes"
    ),
    (
      #"{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","parameters":{"shared_memory_region":"r"}}]}"#,
      "not among the extensions"
    ),
    (
      #"{"inputs":[],"outputs":[{"name":"p","parameters":{"classification":3}}]}"#,
      "not among the extensions"
    ),
    (#"{"inputs":[],"parameters":7}"#, "must be an object"),
    (#"{"id":[],"inputs":[]}"#, "'id' must be a text"),
  ]

  @Test("a malformed request is refused with the reason", arguments: refused)
  func refuses(json: String, reason: String) {
    let error = InferenceSample.error { try InferenceSample.read(json) }
    #expect(error?.code == .invalidArgument)
    #expect(error?.message.contains(reason) == true, "\(error?.message ?? "nothing")")
  }

  @Test("JSON nested deeper than any request is refused")
  func deep() {
    let deep = String(repeating: "[", count: 100_000)
    for json in [
      deep, "{\"inputs\":\(deep)", "{\"other\":\(deep)", "{\"parameters\":{\"a\":\(deep)",
    ] {
      #expect(InferenceSample.error { try InferenceSample.read(json) }?.code == .invalidArgument)
    }
    let data = #"{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":"# + deep
    #expect(InferenceSample.error { try InferenceSample.read(data) }?.code == .invalidArgument)
  }

  @Test("a header length beyond the body, and bytes that belong to no tensor, are refused")
  func lengths() {
    let json = #"{"inputs":[]}"#
    let beyond = InferenceSample.error { try InferenceSample.read(json, header: 500) }
    #expect(beyond?.message.contains("but the body has only 13 bytes") == true)
    let left = InferenceSample.error { try InferenceSample.read(json, [1, 2, 3]) }
    #expect(left?.message.contains("3 bytes of the body belong to no tensor") == true)
  }

  @Test("texts that end within an element, or lie about their length, are refused")
  func cutTexts() {
    for bytes in [
      [1, 0, 0], [2, 0, 0, 0, 65], [0xFF, 0xFF, 0xFF, 0xFF, 65], [1, 0, 0, 0, 0xFF],
    ] as [[UInt8]] {
      let error = InferenceSample.error {
        try bytes.withUnsafeBytes {
          try TensorBytes.elements($0, of: .bytes, count: 1, name: "x")
        }
      }
      #expect(error?.code == .invalidArgument)
    }
  }
}
