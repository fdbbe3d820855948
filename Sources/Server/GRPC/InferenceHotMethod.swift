import Core
import Foundation
import GRPCCore
import SwiftProtobuf
import Wire

/// `ModelInfer` on its messages' bytes; registered after `InferenceGRPCService`, whose method it takes.
///
/// The generated types were a third of a call. A request with raw contents and no parameters, as clients write it, is read by
/// `InferenceWireReader`; any other by the generated code.
struct InferenceHotMethod: RegistrableRPCService {
  private struct Bytes: MessageSerializer, MessageDeserializer {
    func serialize<Bytes: GRPCContiguousBytes>(_ message: [UInt8]) throws -> Bytes {
      Bytes(message)
    }

    func deserialize<Bytes: GRPCContiguousBytes>(_ bytes: Bytes) throws -> [UInt8] {
      bytes.withUnsafeBytes { Array($0) }
    }
  }

  let services: PlatformServices

  func registerMethods<Transport>(with router: inout RPCRouter<Transport>) {
    router.registerHandler(
      forMethod: Inference_GRPCInferenceService.Method.ModelInfer.descriptor,
      deserializer: Bytes(), serializer: Bytes()
    ) { request, _ in
      let one = try await ServerRequest(stream: request)
      let answer = try await answer(one.message, timeout: Span(timeoutOf: one.metadata))
      return StreamingServerResponse(single: ServerResponse(message: answer))
    }
  }

  /// A `ModelInferResponse` to a `ModelInferRequest`.
  func answer(_ message: [UInt8], timeout: Span?) async throws -> [UInt8] {
    if let request = message.withUnsafeBytes({ InferenceWireReader.read($0) }) {
      let answer = try await InferenceService(services: services).infer(
        request.call, model: request.model, version: request.version, deadline: timeout)
      return InferenceWire.bytes(answer)
    }
    let request: Inference_ModelInferRequest
    do {
      request = try Inference_ModelInferRequest(serializedBytes: message)
    } catch {
      throw PlatformError(.invalidArgument, "the message is no ModelInferRequest", cause: error)
    }
    return try await InferenceGRPCService(services: services).infer(request, timeout: timeout)
      .serializedBytes()
  }
}

extension InferenceWire {
  /// The bytes of a `ModelInferResponse` with raw contents.
  static func bytes(_ answer: InferenceAnswer) -> [UInt8] {
    var writer = WireWriter(
      capacity: 160 + answer.outputs.reduce(0) { $0 + 64 + $1.tensor.elements.count * 8 })
    for output in answer.outputs.reversed() {
      var raw: [UInt8] = []
      TensorBytes.append(output.tensor, to: &raw)
      writer.field(6, bytes: raw)
    }
    for output in answer.outputs.reversed() {
      let before = writer.count
      for dimension in output.tensor.shape.reversed() { writer.varint(UInt64(dimension)) }
      writer.close(3, before)
      writer.field(2, text: output.tensor.type.rawValue)
      writer.field(1, text: output.tensor.name)
      writer.close(5, before)
    }
    for (name, value) in [("route", answer.route), ("stage", answer.stage)] {
      let before = writer.count
      writer.field(3, text: value)
      writer.close(2, before)
      writer.field(1, text: name)
      writer.close(4, before)
    }
    writer.field(3, text: answer.id)
    writer.field(2, text: String(answer.version))
    writer.field(1, text: answer.model)
    return writer.bytes
  }
}
