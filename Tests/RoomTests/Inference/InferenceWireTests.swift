import Core
import Foundation
import Server
import SwiftProtobuf
import Testing
import Wire

/// The reader of the wire beside the generated code, which is its oracle.
@Suite("Inference requests on the wire")
struct InferenceWireTests {
  private static func random(_ random: inout SeededGenerator) -> Inference_ModelInferRequest {
    var request = Inference_ModelInferRequest()
    request.modelName = "spend"
    if random.chance(0.5) { request.modelVersion = "\(random.below(20))" }
    if random.chance(0.5) { request.id = "request-\(random.below(1_000))" }
    for index in 0..<random.below(4) {
      let type = TensorType.allCases[random.below(TensorType.allCases.count)]
      let shape = (0..<1 + random.below(2)).map { _ in random.below(4) }
      let count = shape.reduce(1, *)
      var raw = Data()
      for _ in 0..<count {
        if let width = type.width {
          raw.append(contentsOf: (0..<width).map { _ in UInt8(random.below(2)) })
        } else {
          raw.append(contentsOf: [2, 0, 0, 0, 0xC3, 0xA9])
        }
      }
      request.inputs.append(
        .with {
          $0.name = "tensor.\(index)"
          $0.datatype = type.rawValue
          $0.shape = shape.map { Int64($0) }
        })
      request.rawInputContents.append(raw)
    }
    for index in 0..<random.below(3) {
      request.outputs.append(.with { $0.name = "output.\(index)" })
    }
    return request
  }

  private static func isSame(_ a: InferenceCall, _ b: InferenceCall) -> Bool {
    guard a.id == b.id, a.outputs.map(\.name) == b.outputs.map(\.name),
      a.inputs.count == b.inputs.count
    else { return false }
    return zip(a.inputs, b.inputs).allSatisfy { one, other in
      guard one.name == other.name, one.type == other.type, one.shape == other.shape else {
        return false
      }
      if case .double(let a) = one.elements, case .double(let b) = other.elements {
        return a.map(\.bitPattern) == b.map(\.bitPattern)
      }
      return one.elements == other.elements
    }
  }

  @Test("requests of raw contents are read as the generated code reads them")
  func whole() throws {
    var random = SeededGenerator(seed: 9)
    for _ in 0..<5_000 {
      let request = Self.random(&random)
      let bytes: [UInt8] = try request.serializedBytes()
      let read = try #require(bytes.withUnsafeBytes { InferenceWireReader.read($0) })
      #expect(read.model == "spend" && read.version == request.modelVersion)
      #expect(Self.isSame(read.call, try InferenceWire.call(request)))
    }
  }

  @Test(
    "of damaged messages what is read is what the generated code reads",
    arguments: [10, 11] as [UInt64])
  func damaged(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    for _ in 0..<20_000 {
      let whole: [UInt8] = try Self.random(&random).serializedBytes()
      let bytes = InferenceFuzzTests.damaged(whole, &random)
      let read = bytes.withUnsafeBytes { InferenceWireReader.read($0) }
      do {
        let request = try Inference_ModelInferRequest(serializedBytes: bytes)
        let call = try InferenceWire.call(request)
        guard let read else { continue }
        #expect(read.model == request.modelName && read.version == request.modelVersion)
        #expect(Self.isSame(read.call, call), "\(bytes)")
      } catch let error as PlatformError {
        #expect(error.code == .invalidArgument)
        #expect(read == nil, "\(bytes)")
      } catch {
        // No message of protobuf at all.
        #expect(read == nil, "\(bytes)")
      }
    }
  }

  @Test("parameters and contents are left to the generated code")
  func rest() throws {
    var random = SeededGenerator(seed: 12)
    var request = Self.random(&random)
    request.parameters["timeout"] = .with { $0.int64Param = 7 }
    let bytes: [UInt8] = try request.serializedBytes()
    #expect(bytes.withUnsafeBytes { InferenceWireReader.read($0) } == nil)
    var contents = Inference_ModelInferRequest()
    contents.modelName = "spend"
    contents.inputs = [
      .with {
        $0.name = "x"
        $0.datatype = "FP64"
        $0.shape = [1]
        $0.contents.fp64Contents = [1]
      }
    ]
    let other: [UInt8] = try contents.serializedBytes()
    #expect(other.withUnsafeBytes { InferenceWireReader.read($0) } == nil)
    #expect(try InferenceWire.call(contents).inputs.map(\.elements) == [.double([1])])
  }
}
