import Core
import Testing

@Suite("Signed model versions")
struct ArtifactSignerTests {
  private static let secret = "0123456789abcdef0123456789abcdef"

  private func signed(_ signer: ArtifactSigner) -> ModelVersion {
    var version = ServingSample.version(3)
    version.artifactSignature = signer.signature(of: version)
    return version
  }

  @Test("the signature is the HMAC-SHA256 that another implementation computes")
  func oracle() throws {
    let signer = try ArtifactSigner(secret: Self.secret)
    var version = ServingSample.version(3, artifact: "abc")
    version.features = []
    // python3 -c "import hmac; print(hmac.new(SECRET, b'23:martlet model version 15:churn1:33:abc6:pickle', 'sha256').hexdigest())"
    #expect(
      signer.signature(of: version)
        == "hmac-sha256:81cef97a:19902fa66a9794be0a19722be7004c8df5215d2c5fa021f7eebc21cc228cd631")
  }

  @Test("a version as it was signed is trusted, in whatever stage it is")
  func trusts() throws {
    let signer = try ArtifactSigner(secret: Self.secret)
    var version = signed(signer)
    #expect(signer.verdict(on: version) == .valid)
    version.stage = .archived
    try ArtifactTrust(signer: signer).check(version)
  }

  @Test("a changed record is refused, whatever was changed")
  func refusesChanges() throws {
    let signer = try ArtifactSigner(secret: Self.secret)
    let changes: [(inout ModelVersion) -> Void] = [
      { $0.artifact = BlobDigest(hex: "other") }, { $0.version = 4 }, { $0.model = "fraud" },
      { $0.format = "onnx" }, { $0.features.removeLast() }, { $0.features.reverse() },
      { $0.artifactSignature?.removeLast() },
      { $0.artifactSignature = "hmac-sha256:\(signer.keyName):00" },
      { $0.artifactSignature = "none" },
      { $0.native = NativeForm(kind: "linear", modelClass: "", artifact: BlobDigest(hex: "n")) },
    ]
    for (index, change) in changes.enumerated() {
      var version = signed(signer)
      change(&version)
      #expect(signer.verdict(on: version) == .wrong, "change \(index)")
    }
  }

  @Test("what is unsigned or of another key is refused with the command that signs it")
  func refusesOthers() throws {
    let signer = try ArtifactSigner(secret: Self.secret)
    let other = try ArtifactSigner(secret: Self.secret + "x")
    let cases: [(ModelVersion, String)] = [
      (ServingSample.version(3), "is not signed"), (signed(other), "signed with another key"),
    ]
    for (version, words) in cases {
      let error = #expect(throws: PlatformError.self) {
        try ArtifactTrust(signer: signer).check(version)
      }
      #expect(error?.code == .failedPrecondition)
      #expect(error?.message.contains(words) == true, "\(error?.message ?? "")")
      #expect(error?.message.contains("martlet models sign churn 3") == true)
    }
  }

  @Test("without a key every version is trusted, and a short key is no key")
  func keys() throws {
    try ArtifactTrust().check(ServingSample.version(3))
    #expect(throws: PlatformError.self) { try ArtifactSigner(secret: "short") }
  }
}
