import Core
import Server
import Serving
import Testing

/// A model of two view features, an input and an array.
enum InferenceModel {
  static let features = [
    ModelFeature(
      name: "visits.count", origin: .view(FeatureName(view: "visits", feature: "count")),
      type: .int64),
    ModelFeature(name: "basket", origin: .input, type: .double),
    ModelFeature(
      name: "place.at", origin: .view(FeatureName(view: "place", feature: "at")),
      type: .array(of: .double, length: 2)),
    ModelFeature(
      name: "city.name", origin: .view(FeatureName(view: "city", feature: "name")), type: .string),
  ]

  static let numbers = Array(features.prefix(3))

  static let model = ModelDefinition(
    name: "spend", features: features,
    inputs: [ColumnDefinition(name: "basket", type: .double)], entities: ["customer"])

  static let project = ProjectDefinition(
    name: "shop", entities: [EntityDefinition(name: "customer", key: ["customer_id"])],
    models: [model])

  static func doubles(_ name: String, _ all: [Double], shape: [Int]? = nil) -> Tensor {
    Tensor(name: name, type: .fp64, shape: shape ?? [all.count], elements: .double(all))
  }

  static func fill(
    _ call: InferenceCall, features: [ModelFeature] = features
  ) throws -> PredictRequest {
    var request = PredictRequest(model: "spend", rows: [])
    let signature = InferenceSignature(model: model, project: project, features: features)
    try InferenceRows(signature).fill(&request, from: call)
    return request
  }

  static func call(_ inputs: [Tensor], entities: JSON? = nil) -> InferenceCall {
    var call = InferenceCall()
    call.inputs = inputs
    if let entities { call.parameters = .object(["entities": entities]) }
    return call
  }
}

@Suite("Tensors as a model's columns")
struct FeatureColumnsTests {
  private typealias Model = InferenceModel

  private var whole: [Tensor] {
    [
      Tensor(name: "city.name", type: .bytes, shape: [2, 1], elements: .string(["Oslo", "東京"])),
      Model.doubles("basket", [1.5, .nan]),
      Model.doubles("place.at", [1, 2, 3, 4], shape: [2, 2]),
      Tensor(
        name: "visits.count", type: .int32, shape: [2], elements: .int64([7, 0]), presence: [0, 1]),
    ]
  }

  @Test("a tensor for each feature, in any order, makes columns in the signature's order")
  func each() throws {
    let batch = try #require(try Model.fill(Model.call(whole)).vectors)
    #expect(batch.columns.map(\.name) == Model.features.map(\.name))
    #expect(batch.count == 2)
    #expect(batch.columns.map(\.type) == Model.features.map(\.type))
    #expect(batch["visits.count"]?[0] == .int64(7))
    #expect(batch["city.name"]?[1] == .string("東京"))
    #expect(batch["place.at"]?[1] == .list(.double([3, 4])))
  }

  @Test("a null and a NaN are missing values")
  func missing() throws {
    let batch = try #require(try Model.fill(Model.call(whole)).vectors)
    #expect(batch["visits.count"]?[1] == .null)
    #expect(batch["basket"]?[1] == .null)
    #expect(batch["basket"]?[0] == .double(1.5))
  }

  @Test("one matrix of any name holds all features, arrays element by element")
  func matrix() throws {
    let call = Model.call([
      Model.doubles("input-0", [7, 1.5, 1, 2, 8, .nan, 3, 4], shape: [2, 4])
    ])
    let batch = try #require(try Model.fill(call, features: Model.numbers).vectors)
    #expect(batch["visits.count"]?.values == .int64([7, 8]))
    #expect(batch["basket"]?[1] == .null)
    #expect(batch["place.at"]?[1] == .list(.double([3, 4])))
  }

  @Test("keys and inputs as tensors are rows to hydrate")
  func rows() throws {
    let keys = Tensor(name: "customer_id", type: .int64, shape: [2], elements: .int64([5, 6]))
    let request = try Model.fill(Model.call([keys, Model.doubles("basket", [1, 2])]))
    #expect(request.vectors == nil)
    #expect(
      request.rows == [
        ["customer_id": .int64(5), "basket": .double(1)],
        ["customer_id": .int64(6), "basket": .double(2)],
      ])
  }

  @Test("entities are an object, a list of them, or either as a text")
  func entities() throws {
    let one = try Model.fill(Model.call([], entities: .object(["customer_id": .int(7)])))
    #expect(one.rows == [["customer_id": .int64(7)]])
    let text = JSON.string(#"[{"customer_id": 7}, {"customer_id": 8, "basket": null}]"#)
    let two = try Model.fill(Model.call([], entities: text))
    #expect(two.rows == [["customer_id": .int64(7)], ["customer_id": .int64(8), "basket": .null]])
    let inputs = [Model.doubles("basket", [3])]
    let both = try Model.fill(Model.call(inputs, entities: .object(["customer_id": .int(7)])))
    #expect(both.rows == [["customer_id": .int64(7), "basket": .double(3)]])
  }

  static let refused: [(inputs: [Tensor], entities: JSON?, reason: String)] = [
    ([], nil, "the request has no inputs"),
    ([], .string("{"), "a text that is no JSON"),
    ([], .int(7), "must be an object or a list of objects"),
    ([], .array([]), "takes 1 to 10000 rows"),
    ([InferenceModel.doubles("x", [1, 2, 3], shape: [1, 3])], nil, "the model reads 5"),
    ([InferenceModel.doubles("visits.count", [1.5])], nil, "brings all of them"),
    ([InferenceModel.doubles("basket", [])], nil, "takes 1 to 10000 rows"),
    (
      [InferenceModel.doubles("basket", [1]), InferenceModel.doubles("customr_id", [1])], nil,
      "did you mean 'customer_id'"
    ),
    (
      [InferenceModel.doubles("basket", [1, 2]), InferenceModel.doubles("customer_id", [1])], nil,
      "has 1 rows, but the request has 2"
    ),
    (
      [InferenceModel.doubles("basket", [1, 2], shape: [1, 2])], .object(["customer_id": .int(1)]),
      "brings 2 values a row"
    ),
  ]

  @Test("what fits no model is refused with the reason", arguments: refused)
  func refuses(inputs: [Tensor], entities: JSON?, reason: String) {
    let error = InferenceSample.error { try Model.fill(Model.call(inputs, entities: entities)) }
    #expect(error?.code == .invalidArgument)
    #expect(error?.message.contains(reason) == true, "\(error?.message ?? "nothing")")
  }

  static let unfit: [Tensor] = [
    InferenceModel.doubles("visits.count", [1.5]),
    Tensor(name: "visits.count", type: .bytes, shape: [1], elements: .string(["7"])),
    Tensor(name: "visits.count", type: .int64, shape: [1, 2], elements: .int64([1, 2])),
  ]

  @Test("a value that is not of the feature's type is refused, not rounded", arguments: unfit)
  func types(tensor: Tensor) {
    let features = [InferenceModel.features[0]]
    let error = InferenceSample.error {
      try FeatureColumns.batch(
        [tensor],
        as: InferenceSignature(
          model: InferenceModel.model, project: InferenceModel.project, features: features))
    }
    #expect(error?.code == .invalidArgument)
    #expect(error?.message.contains("visits.count") == true)
  }

  @Test("bytes alone are as many rows of the features as they make")
  func raw() throws {
    let bytes = [1, 2, 3, 4, 5, 6, 7, 8].flatMap { number in
      withUnsafeBytes(of: Double(number).bitPattern.littleEndian) { Array($0) }
    }
    let tensor = try bytes.withUnsafeBytes {
      try RawTensor.tensor($0, InferenceModel.numbers, model: "spend")
    }
    #expect(tensor.shape == [2, 4])
    #expect(tensor.elements == .double([1, 2, 3, 4, 5, 6, 7, 8]))
    for count in [0, 1, 31, 33] {
      let error = InferenceSample.error {
        try bytes.prefix(count).withUnsafeBytes {
          try RawTensor.tensor($0, InferenceModel.numbers, model: "spend")
        }
      }
      #expect(error?.message.contains("is 32 bytes") == true)
    }
    let text = try Array("東京".utf8).withUnsafeBytes {
      try RawTensor.tensor($0, [InferenceModel.features[3]], model: "spend")
    }
    #expect(text.elements == .string(["東京"]))
  }
}

@Suite("Bodies of the scoring contract")
struct ScoringBodyTests {
  private let body = ScoringBody(
    InferenceSignature(
      model: InferenceModel.model, project: InferenceModel.project,
      features: InferenceModel.features))

  private func tensors(json: String) throws -> [Tensor] {
    try Array(json.utf8).withUnsafeBufferPointer { try body.call(json: $0).inputs }
  }

  private func tensors(csv: String) throws -> [Tensor] {
    try Array(csv.utf8).withUnsafeBufferPointer { try body.call(csv: $0).inputs }
  }

  @Test("columns that the model does not know are passed over")
  func unknownColumns() throws {
    let found = try tensors(
      json: #"{"dataframe_records": [{"basket": 1.5, "colour": "red"}, {"basket": null}]}"#)
    #expect(
      found == [
        Tensor(
          name: "basket", type: .fp64, shape: [2], elements: .double([1.5, 0]), presence: [0, 1])
      ])
  }

  @Test("arrays of one length are a second dimension")
  func arrays() throws {
    let found = try tensors(json: #"{"inputs": {"place.at": [[1, 2], [3.5, 4]]}}"#)
    #expect(found.map(\.shape) == [[2, 2]])
    #expect(found.map(\.elements) == [.double([1, 2, 3.5, 4])])
    let error = InferenceSample.error {
      try tensors(json: #"{"inputs": {"place.at": [[1, 2], [3]]}}"#)
    }
    #expect(error?.message.contains("row 2 of column 'place.at'") == true)
  }

  @Test("a CSV keeps texts that look like numbers, and reads quotes and empty cells")
  func csv() throws {
    let found = try tensors(csv: "city.name,basket,visits.count\r\n\"0,\"\"7\",,3\r\n12,2.5,4\n")
    #expect(found.map(\.name) == ["city.name", "basket", "visits.count"])
    #expect(found[0].elements == .string(["0,\"7", "12"]))
    #expect(found[1].presence == [1, 0])
    #expect(found[2].elements == .int64([3, 4]))
  }

  @Test("damaged bodies are read or refused", arguments: [7, 8] as [UInt64])
  func random(seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    let seeds = [
      #"{"dataframe_split": {"columns": ["basket", "visits.count"], "data": [[1, 2], [null, "3"]]}}"#,
      #"{"dataframe_records": [{"basket": 1.5, "city.name": "x"}], "params": {}}"#,
      #"{"instances": [[1, 2], [3, 4]]}"#, #"{"inputs": {"place.at": [[1, 2]], "basket": 7}}"#,
      "city.name,basket\n\"a\",2\nb,\n",
    ].map { Array($0.utf8) }
    for round in 0..<10_000 {
      let bytes = InferenceFuzzTests.damaged(seeds[round % seeds.count], &random)
      do {
        let call = try bytes.withUnsafeBufferPointer {
          round % 5 == 4 ? try body.call(csv: $0) : try body.call(json: $0)
        }
        for tensor in call.inputs {
          #expect(tensor.elements.count == tensor.shape.reduce(1, *))
        }
      } catch let error as PlatformError {
        #expect(error.code == .invalidArgument, "\(String(decoding: bytes, as: UTF8.self))")
      } catch {
        Issue.record("\(error) for \(bytes)")
      }
    }
  }
}

@Suite("Compressed bodies")
struct BodyCodingTests {
  @Test("what is compressed is read back, in gzip and in deflate", arguments: ["gzip", "deflate"])
  func thereAndBack(coding: String) throws {
    let bytes = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 / 7) }
    let (body, name) = try BodyCoding.deflated(bytes, accepted: "br, \(coding);q=0.5")
    #expect(name == coding)
    #expect(body.readableBytes < bytes.count / 10)
    let read = try body.withUnsafeReadableBytes { try BodyCoding.inflate($0) }
    #expect(Array(read.readableBytesView) == bytes)
  }

  @Test("answers go as they are where the caller accepts no coding, or they are short")
  func plain() throws {
    let long = [UInt8](repeating: 1, count: 5_000)
    for accepted in [nil, "", "br", "gzip;q=0", "identity"] as [String?] {
      #expect(try BodyCoding.deflated(long, accepted: accepted).coding == nil)
    }
    #expect(try BodyCoding.deflated([1, 2, 3], accepted: "gzip").coding == nil)
  }

  @Test("bytes that are cut short, damaged, or too many are refused")
  func refuses() throws {
    let bytes = (0..<50_000).map { UInt8(truncatingIfNeeded: $0 &* $0) }
    let whole = Array(
      try BodyCoding.deflated(bytes, accepted: "gzip").body.readableBytesView)
    var damaged = whole
    damaged[whole.count / 2] ^= 0xFF
    let bomb = Array(
      try BodyCoding.deflated(
        [UInt8](repeating: 0, count: Limits.requestBytes + 1), accepted: "gzip"
      ).body.readableBytesView)
    for bytes in [[], Array(whole.dropLast(4)), damaged, bomb, whole + [7], [1, 2, 3]] {
      let error = InferenceSample.error { try bytes.withUnsafeBytes { try BodyCoding.inflate($0) } }
      #expect(error?.code == .invalidArgument)
    }
  }
}
