import Core
import Foundation
import GRPCCore
import Metrics
import Wire

/// `FeatureStore/GetOnline` on its messages' bytes; registered after `FeatureStoreService`, whose method it takes.
struct OnlineReadService: RegistrableRPCService {
  private struct Bytes: MessageSerializer, MessageDeserializer {
    func serialize<Bytes: GRPCContiguousBytes>(_ message: [UInt8]) throws -> Bytes {
      Bytes(message)
    }

    func deserialize<Bytes: GRPCContiguousBytes>(_ bytes: Bytes) throws -> [UInt8] {
      bytes.withUnsafeBytes { Array($0) }
    }
  }

  let services: PlatformServices
  private let lists = FeatureLists()
  private let readTimer = Metrics.Timer(
    label: "martlet_online_read_seconds", dimensions: [("transport", "grpc")])

  init(services: PlatformServices) { self.services = services }

  func registerMethods<Transport>(with router: inout RPCRouter<Transport>) {
    router.registerHandler(
      forMethod: Martlet_V1_FeatureStore.Method.GetOnline.descriptor, deserializer: Bytes(),
      serializer: Bytes()
    ) { request, _ in
      let message = try await ServerRequest(stream: request).message
      return StreamingServerResponse(single: ServerResponse(message: try await answer(message)))
    }
  }

  /// A `GetOnlineResponse` to a `GetOnlineRequest`.
  func answer(_ message: [UInt8]) async throws -> [UInt8] {
    let start = DispatchTime.now().uptimeNanoseconds
    let question = try OnlineReadWire.question(
      message, lists: lists, snapshot: services.online.visible.current)
    let answer = try OnlineReadWire.answer(question.list, try await services.answer(question))
    readTimer.recordNanoseconds(Int64(DispatchTime.now().uptimeNanoseconds - start))
    return answer
  }
}
