import Core
import Foundation
import SwiftProtobuf
import Wire

/// The protocol's messages and the platform's own values.
package enum InferenceWire {
  /// - Throws: `invalid_argument` where tensors are not as they say.
  package static func call(_ request: Inference_ModelInferRequest) throws -> InferenceCall {
    var call = InferenceCall()
    call.id = try InferenceReader.checked(id: request.id)
    call.parameters = json(request.parameters)
    guard max(request.inputs.count, request.outputs.count) <= Limits.inferenceTensors else {
      throw PlatformError(
        .invalidArgument, "more than \(Limits.inferenceTensors) inputs or outputs are sent")
    }
    let isRaw = !request.rawInputContents.isEmpty
    if isRaw, request.rawInputContents.count != request.inputs.count {
      throw PlatformError(
        .invalidArgument,
        "raw_input_contents has \(request.rawInputContents.count) entries for \(request.inputs.count) inputs; it has one for each, or none"
      )
    }
    for (index, input) in request.inputs.enumerated() {
      call.inputs.append(try tensor(input, raw: isRaw ? request.rawInputContents[index] : nil))
    }
    for output in request.outputs {
      for unknown in ["shared_memory_region", "classification"]
      where output.parameters[unknown] != nil {
        throw InferenceReader.unsupported(unknown)
      }
      call.outputs.append(InferenceCall.Output(name: output.name))
    }
    try call.checkNames()
    return call
  }

  private static func tensor(
    _ input: Inference_ModelInferRequest.InferInputTensor, raw: Data?
  ) throws -> Tensor {
    let type = try TensorType(named: input.datatype, of: input.name)
    let shape = input.shape.map { Int($0) }
    let count = try Tensor.count(of: shape, input.name)
    if input.parameters["shared_memory_region"] != nil {
      throw InferenceReader.unsupported("shared_memory_region")
    }
    let elements: ColumnValues
    if let raw {
      guard !input.hasContents else {
        throw PlatformError(
          .invalidArgument, "tensor '\(input.name)' has both contents and raw contents; send one")
      }
      elements = try raw.withUnsafeBytes {
        try TensorBytes.elements($0, of: type, count: count, name: input.name)
      }
    } else {
      elements = try contents(input.contents, of: type, input.name)
      guard elements.count == count else {
        throw PlatformError(
          .invalidArgument,
          "tensor '\(input.name)' of shape \(shape) has \(count) elements, but its contents hold \(elements.count) of \(type.rawValue)"
        )
      }
    }
    return Tensor(name: input.name, type: type, shape: shape, elements: elements)
  }

  private static func contents(
    _ contents: Inference_InferTensorContents, of type: TensorType, _ name: String
  ) throws -> ColumnValues {
    switch type {
    case .bool: return .bool(contents.boolContents)
    case .int8, .int16, .int32:
      let all = contents.intContents.map { Int64($0) }
      try check(all, type, name)
      return .int64(all)
    case .int64: return .int64(contents.int64Contents)
    case .uint8, .uint16, .uint32:
      let all = contents.uintContents.map { Int64($0) }
      try check(all, type, name)
      return .int64(all)
    case .uint64: return TensorBytes.large(contents.uint64Contents)
    case .fp32: return .double(contents.fp32Contents.map { Double($0) })
    case .fp64: return .double(contents.fp64Contents)
    case .bytes:
      return .string(
        try contents.bytesContents.enumerated().map { index, bytes in
          guard let text = String(validating: bytes, as: UTF8.self) else {
            throw PlatformError(
              .invalidArgument, "element \(index + 1) of tensor '\(name)' is not UTF-8")
          }
          return text
        })
    case .fp16, .bf16:
      throw PlatformError(
        .invalidArgument,
        "tensor '\(name)' is \(type.rawValue), which contents have no field for; send it in raw_input_contents"
      )
    }
  }

  private static func check(_ all: [Int64], _ type: TensorType, _ name: String) throws {
    guard let fits = type.integers, let odd = all.firstIndex(where: { !fits.contains($0) }) else {
      return
    }
    throw PlatformError(
      .invalidArgument,
      "element \(odd + 1) of tensor '\(name)' is \(all[odd]), which is no \(type.rawValue)")
  }

  private static func json(_ parameters: [String: Inference_InferParameter]) -> JSON {
    .object(
      parameters.map { name, parameter in
        let value: JSON =
          switch parameter.parameterChoice {
          case .boolParam(let value): .bool(value)
          case .int64Param(let value): .int(value)
          case .stringParam(let value): .string(value)
          case .doubleParam(let value): .double(value)
          case .uint64Param(let value): .int(Int64(clamping: value))
          case nil: .null
          }
        return JSON.Member(name, value)
      })
  }

  // MARK: Answers

  /// - Parameter isRaw: whether the outputs go as raw contents.
  static func response(
    _ answer: InferenceAnswer, isRaw: Bool
  ) -> Inference_ModelInferResponse {
    var response = Inference_ModelInferResponse()
    response.modelName = answer.model
    response.modelVersion = String(answer.version)
    response.id = answer.id
    response.parameters["stage"] = .with { $0.stringParam = answer.stage }
    response.parameters["route"] = .with { $0.stringParam = answer.route }
    for output in answer.outputs {
      var wire = Inference_ModelInferResponse.InferOutputTensor()
      wire.name = output.tensor.name
      wire.datatype = output.tensor.type.rawValue
      wire.shape = output.tensor.shape.map { Int64($0) }
      if isRaw {
        var bytes: [UInt8] = []
        TensorBytes.append(output.tensor, to: &bytes)
        response.rawOutputContents.append(Data(bytes))
      } else {
        wire.contents = contents(output.tensor)
      }
      response.outputs.append(wire)
    }
    return response
  }

  private static func contents(_ tensor: Tensor) -> Inference_InferTensorContents {
    var contents = Inference_InferTensorContents()
    switch tensor.elements {
    case .bool(let all): contents.boolContents = all
    case .int64(let all), .timestamp(let all): contents.int64Contents = all
    case .double(let all):
      contents.fp64Contents = all.enumerated().map { tensor.isPresent($0) ? $1 : .nan }
    case .string(let all): contents.bytesContents = all.map { Data($0.utf8) }
    case .list: break
    }
    return contents
  }
}

extension Inference_ModelMetadataResponse {
  init(_ facts: ModelFacts) {
    self.init()
    func tensors(_ all: [ModelFacts.TensorFacts]) -> [TensorMetadata] {
      all.map { tensor in
        .with {
          $0.name = tensor.name
          $0.datatype = tensor.type.rawValue
          $0.shape = tensor.shape
        }
      }
    }
    name = facts.name
    versions = facts.versions.map { String($0) }
    platform = facts.platform
    inputs = tensors(facts.inputs)
    outputs = tensors(facts.outputs)
  }
}

extension Inference_ModelConfig {
  init(_ facts: ModelFacts) {
    self.init()
    name = facts.name
    platform = facts.platform
    backend = "martlet"
    input = facts.inputs.map { tensor in
      .with {
        $0.name = tensor.name
        $0.dataType = tensor.type.wire
        $0.dims = tensor.shape
      }
    }
    output = facts.outputs.map { tensor in
      .with {
        $0.name = tensor.name
        $0.dataType = tensor.type.wire
        $0.dims = tensor.shape
      }
    }
  }
}

extension TensorType {
  fileprivate var wire: Inference_DataType {
    switch self {
    case .bool: .typeBool
    case .uint8: .typeUint8
    case .uint16: .typeUint16
    case .uint32: .typeUint32
    case .uint64: .typeUint64
    case .int8: .typeInt8
    case .int16: .typeInt16
    case .int32: .typeInt32
    case .int64: .typeInt64
    case .fp16: .typeFp16
    case .fp32: .typeFp32
    case .fp64: .typeFp64
    case .bf16: .typeBf16
    case .bytes: .typeString
    }
  }
}

extension Inference_ModelStatistics {
  init(_ entry: InferenceStatistics.Entry) {
    self.init()
    func duration(_ one: InferenceStatistics.Duration) -> Inference_StatisticDuration {
      .with {
        $0.count = one.count
        $0.ns = one.nanoseconds
      }
    }
    name = entry.model
    version = String(entry.version)
    lastInference = entry.counts.last
    inferenceCount = entry.counts.rows
    executionCount = entry.counts.success.count
    inferenceStats = .with {
      $0.success = duration(entry.counts.success)
      $0.fail = duration(entry.counts.failure)
      $0.queue = duration(entry.counts.queue)
      $0.computeInput = duration(entry.counts.input)
      $0.computeInfer = duration(entry.counts.compute)
      $0.computeOutput = duration(entry.counts.output)
    }
  }
}
