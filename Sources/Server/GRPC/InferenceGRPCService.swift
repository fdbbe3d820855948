import Core
import GRPCCore
import Wire

/// `inference.GRPCInferenceService`: the Open Inference Protocol v2 with Triton's calls.
struct InferenceGRPCService: Inference_GRPCInferenceService.ServiceProtocol {
  static let name = "inference.GRPCInferenceService"

  let services: PlatformServices
  private var inference: InferenceService { InferenceService(services: services) }

  init(services: PlatformServices) { self.services = services }

  // MARK: Inference

  func modelInfer(
    request: ServerRequest<Inference_ModelInferRequest>, context: ServerContext
  ) async throws -> ServerResponse<Inference_ModelInferResponse> {
    ServerResponse(
      message: try await infer(request.message, timeout: Span(timeoutOf: request.metadata)))
  }

  func modelStreamInfer(
    request: StreamingServerRequest<Inference_ModelInferRequest>, context: ServerContext
  ) async throws -> StreamingServerResponse<Inference_ModelStreamInferResponse> {
    StreamingServerResponse { writer in
      for try await message in request.messages {
        var response = Inference_ModelStreamInferResponse()
        do {
          response.inferResponse = try await infer(message, timeout: nil)
        } catch is CancellationError {
          throw CancellationError()
        } catch {
          response.errorMessage = JSONResponse.platformError(error).description
          response.inferResponse.id = message.id
        }
        try await writer.write(response)
      }
      return [:]
    }
  }

  func infer(
    _ message: Inference_ModelInferRequest, timeout: Span?
  ) async throws -> Inference_ModelInferResponse {
    let answer = try await inference.infer(
      try InferenceWire.call(message), model: message.modelName, version: message.modelVersion,
      deadline: timeout)
    let usesContents = message.inputs.contains(where: \.hasContents)
    return InferenceWire.response(answer, isRaw: !usesContents)
  }

  // MARK: Health and metadata

  func serverLive(
    request: ServerRequest<Inference_ServerLiveRequest>, context: ServerContext
  ) async throws -> ServerResponse<Inference_ServerLiveResponse> {
    ServerResponse(message: .with { $0.live = true })
  }

  func serverReady(
    request: ServerRequest<Inference_ServerReadyRequest>, context: ServerContext
  ) async throws -> ServerResponse<Inference_ServerReadyResponse> {
    ServerResponse(message: .with { $0.ready = inference.isReady })
  }

  func modelReady(
    request: ServerRequest<Inference_ModelReadyRequest>, context: ServerContext
  ) async throws -> ServerResponse<Inference_ModelReadyResponse> {
    let isReady = try inference.isReady(request.message.name, version: request.message.version)
    return ServerResponse(message: .with { $0.ready = isReady })
  }

  func serverMetadata(
    request: ServerRequest<Inference_ServerMetadataRequest>, context: ServerContext
  ) async throws -> ServerResponse<Inference_ServerMetadataResponse> {
    ServerResponse(
      message: .with {
        $0.name = ModelFacts.serverName
        $0.version = PlatformVersion.text
        $0.extensions = ModelFacts.extensions
      })
  }

  func modelMetadata(
    request: ServerRequest<Inference_ModelMetadataRequest>, context: ServerContext
  ) async throws -> ServerResponse<Inference_ModelMetadataResponse> {
    let facts = try inference.facts(of: request.message.name, version: request.message.version)
    return ServerResponse(message: Inference_ModelMetadataResponse(facts))
  }

  func modelConfig(
    request: ServerRequest<Inference_ModelConfigRequest>, context: ServerContext
  ) async throws -> ServerResponse<Inference_ModelConfigResponse> {
    let facts = try inference.facts(of: request.message.name, version: request.message.version)
    return ServerResponse(message: .with { $0.config = Inference_ModelConfig(facts) })
  }

  func modelStatistics(
    request: ServerRequest<Inference_ModelStatisticsRequest>, context: ServerContext
  ) async throws -> ServerResponse<Inference_ModelStatisticsResponse> {
    let entries = try inference.statistics(
      of: request.message.name, version: request.message.version)
    return ServerResponse(
      message: .with { $0.modelStats = entries.map(Inference_ModelStatistics.init) })
  }

  // MARK: Repository

  func repositoryIndex(
    request: ServerRequest<Inference_RepositoryIndexRequest>, context: ServerContext
  ) async throws -> ServerResponse<Inference_RepositoryIndexResponse> {
    let entries = inference.index(ready: request.message.ready)
    return ServerResponse(
      message: .with {
        $0.models = entries.map { entry in
          .with {
            $0.name = entry.model
            $0.version = entry.version
            $0.state = entry.isReady ? "READY" : "UNAVAILABLE"
            $0.reason = entry.reason
          }
        }
      })
  }

  func repositoryModelLoad(
    request: ServerRequest<Inference_RepositoryModelLoadRequest>, context: ServerContext
  ) async throws -> ServerResponse<Inference_RepositoryModelLoadResponse> {
    let message = request.message
    if let parameter = message.parameters.keys.min() {
      try InferenceService.checkLoad(.object([JSON.Member(parameter, .null)]))
    }
    let name = Self.model(message.modelName, message.repositoryName)
    try await inference.load(name)
    return ServerResponse(
      message: .with {
        $0.modelName = name
        $0.isLoaded = true
      })
  }

  func repositoryModelUnload(
    request: ServerRequest<Inference_RepositoryModelUnloadRequest>, context: ServerContext
  ) async throws -> ServerResponse<Inference_RepositoryModelUnloadResponse> {
    let name = Self.model(request.message.modelName, request.message.repositoryName)
    try inference.unload(name)
    return ServerResponse(
      message: .with {
        $0.modelName = name
        $0.isUnloaded = true
      })
  }

  /// KServe numbers the model 1, which is Triton's repository.
  private static func model(_ second: String, _ first: String) -> String {
    second.isEmpty ? first : second
  }
}
