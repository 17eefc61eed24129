import com.fasterxml.jackson.databind.ObjectMapper;
import io.dapr.client.DaprClient;
import io.dapr.client.DaprClientBuilder;
import io.dapr.client.DaprPreviewClient;
import io.dapr.client.Subscription;
import io.dapr.client.SubscriptionListener;
import io.dapr.client.domain.BulkPublishEntry;
import io.dapr.client.domain.BulkPublishRequest;
import io.dapr.client.domain.CloudEvent;
import io.dapr.client.domain.PublishEventRequest;
import io.dapr.utils.TypeRef;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicBoolean;
import reactor.core.publisher.Mono;

/** The official SDK as a client and as a subscriber by streams. Tells each answer and event as one line of JSON. */
public class Client {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final String CLOUD_EVENT = "application/cloudevents+json";

  public static void main(String[] args) throws Exception {
    DaprClientBuilder builder = new DaprClientBuilder();
    try (DaprClient client = builder.build(); DaprPreviewClient preview = builder.buildPreviewClient()) {
      client.waitForSidecar(10_000).block();
      if (args[0].equals("stream")) stream(client, preview);
      else publish(client, preview);
    }
    System.exit(0); // threads of the SDK outlive its clients
  }

  private static void publish(DaprClient client, DaprPreviewClient preview) throws Exception {
    Map<String, String> none = Map.of();
    send(client, "object", "pubsub", "orders", Map.of("by", "java"), null, none);
    send(client, "text", "pubsub", "orders", "text by java", "text/plain", none);
    send(client, "bytes", "pubsub", "orders", new byte[] {0, -1, 7}, "application/octet-stream", none);
    send(client, "special", "pubsub", "routed", event("special"), CLOUD_EVENT, none);
    send(client, "ordinary", "pubsub", "routed", event("ordinary"), CLOUD_EVENT, none);
    send(client, "raw", "pubsub", "raw", Map.of("raw", "java"), null, Map.of("rawPayload", "true"));
    send(client, "again", "pubsub", "again", Map.of("again", "java"), null, none);
    send(client, "refused", "pubsub", "refused", Map.of("refused", "java"), null, none);
    send(client, "unknown", "nowhere", "orders", "x", null, none);
    List<BulkPublishEntry<Map<String, Integer>>> entries = List.of(
        new BulkPublishEntry<>("one", Map.of("n", 1), "application/json"),
        new BulkPublishEntry<>("two", Map.of("n", 2), "application/json"));
    int failed = preview.publishEvents(new BulkPublishRequest<>("pubsub", "many", entries)).block()
        .getFailedEntries().size();
    tell(Map.of("what", "bulk", "failed", failed));
    tell(Map.of("what", "metadata", "id", client.getMetadata().block().getId()));
    publishWithUpgrade();
  }

  private static void send(DaprClient client, String what, String pubsub, String topic, Object data, String type,
      Map<String, String> metadata) throws Exception {
    PublishEventRequest request = new PublishEventRequest(pubsub, topic, data).setMetadata(metadata);
    if (type != null) request.setContentType(type);
    String error = "";
    try {
      client.publishEvent(request).block();
    } catch (RuntimeException thrown) {
      error = thrown.getMessage();
    }
    tell(Map.of("what", what, "error", error));
  }

  private static CloudEvent<Map<String, String>> event(String type) {
    return new CloudEvent<>(type, "here", type, "1.0", "application/json", Map.of("type", type));
  }

  /** The JDK's own client as the quickstart uses it: it asks for HTTP/2 by an upgrade, once with a body, once without. */
  private static void publishWithUpgrade() throws Exception {
    HttpClient http = HttpClient.newHttpClient();
    String sidecar = "http://localhost:" + System.getenv("DAPR_HTTP_PORT");
    HttpRequest publish = HttpRequest.newBuilder(URI.create(sidecar + "/v1.0/publish/pubsub/orders"))
        .header("Content-Type", "application/json").POST(HttpRequest.BodyPublishers.ofString("{\"by\":\"jdk\"}")).build();
    HttpRequest health = HttpRequest.newBuilder(URI.create(sidecar + "/v1.0/healthz")).build();
    for (HttpRequest request : List.of(publish, health, publish)) {
      HttpResponse<String> response = http.send(request, HttpResponse.BodyHandlers.ofString());
      tell(Map.of("what", "upgrade", "status", response.statusCode(), "version", response.version().name()));
    }
  }

  private static void stream(DaprClient client, DaprPreviewClient preview) throws Exception {
    CountDownLatch last = new CountDownLatch(1);
    AtomicBoolean failed = new AtomicBoolean();
    Subscription<String> subscription = preview.subscribeToEvents("pubsub", "iterated", new SubscriptionListener<>() {
      @Override
      public Mono<Status> onEvent(CloudEvent<String> event) {
        tell(Map.of("handler", "iterated", "data", event.getData(), "id", event.getId()));
        if (!failed.getAndSet(true)) return Mono.just(Status.RETRY);
        if (event.getData().equals("last")) last.countDown();
        return Mono.just(Status.SUCCESS);
      }

      @Override
      public void onError(RuntimeException error) {
        tell(Map.of("handler", "error", "message", String.valueOf(error.getMessage())));
      }
    }, TypeRef.STRING);
    tell(Map.of("handler", "ready"));
    last.await();
    System.in.read();
    subscription.close();
    subscription.awaitTermination();
    tell(Map.of("handler", "closed"));
  }

  private static synchronized void tell(Map<String, Object> facts) {
    try {
      System.out.println(JSON.writeValueAsString(new LinkedHashMap<>(facts)));
    } catch (Exception error) {
      throw new IllegalStateException(error);
    }
  }
}
