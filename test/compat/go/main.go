// The official Go SDK as a client, as an app over HTTP or gRPC, and as a subscriber by streams, and a client that knows
// the services by reflection alone: the first argument says which. Tells what happens as lines of JSON.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/dapr/go-sdk/client"
	"github.com/dapr/go-sdk/service/common"
	grpcservice "github.com/dapr/go-sdk/service/grpc"
	httpservice "github.com/dapr/go-sdk/service/http"
)

type facts map[string]any

var printing sync.Mutex

func tell(what facts) {
	printing.Lock()
	defer printing.Unlock()
	line, err := json.Marshal(what)
	check(err)
	fmt.Println(string(line))
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	switch os.Args[1] {
	case "client":
		publish()
	case "reflect":
		reflect()
	case "stream":
		stream()
	default:
		serve(os.Args[1])
	}
}

func event(kind string) string {
	attributes := `"source":"here","specversion":"1.0","datacontenttype":"application/json"`
	return fmt.Sprintf(`{%s,"id":%q,"type":%q,"data":{"type":%q}}`, attributes, kind, kind, kind)
}

func publish() {
	dapr, err := client.NewClient()
	check(err)
	defer dapr.Close()
	ctx := context.Background()
	send := func(what, pubsub, topic string, data any, options ...client.PublishEventOption) {
		message := ""
		if err := dapr.PublishEvent(ctx, pubsub, topic, data, options...); err != nil {
			message = err.Error()
		}
		tell(facts{"what": what, "error": message})
	}
	send("object", "pubsub", "orders", map[string]string{"by": "go"})
	send("text", "pubsub", "orders", "text by go")
	send("bytes", "pubsub", "orders", []byte{0, 255, 7}, client.PublishEventWithContentType("application/octet-stream"))
	cloud := client.PublishEventWithContentType("application/cloudevents+json")
	send("special", "pubsub", "routed", event("special"), cloud)
	send("ordinary", "pubsub", "routed", event("ordinary"), cloud)
	send("raw", "pubsub", "raw", map[string]string{"raw": "go"}, client.PublishEventWithRawPayload())
	send("again", "pubsub", "again", map[string]string{"again": "go"})
	send("refused", "pubsub", "refused", map[string]string{"refused": "go"})
	send("unknown", "nowhere", "orders", "x")
	many := []any{
		map[string]int{"n": 1},
		"two",
		client.PublishEventsEvent{EntryID: "three", Data: []byte(`{"n":3}`), ContentType: "application/json"},
	}
	answer := dapr.PublishEvents(ctx, "pubsub", "many", many)
	tell(facts{"what": "bulk", "failed": len(answer.FailedEvents), "error": answer.Error})
	check(dapr.SetMetadata(ctx, "key", "go"))
	metadata, err := dapr.GetMetadata(ctx)
	check(err)
	tell(facts{"what": "metadata", "id": metadata.ID, "key": metadata.ExtendedMetadata["key"]})
}

func told(handler string, e *common.TopicEvent) {
	tell(facts{
		"handler": handler, "data": e.Data, "bytes": e.RawData, "topic": e.Topic, "pubsubname": e.PubsubName,
		"type": e.Type, "contentType": e.DataContentType, "metadata": e.Metadata,
	})
}

func serve(protocol string) {
	address := "127.0.0.1:" + os.Getenv("APP_PORT")
	service := httpservice.NewService(address)
	if protocol == "grpc" {
		var err error
		service, err = grpcservice.NewService(address)
		check(err)
	}
	failed := false
	handlers := []struct {
		subscription common.Subscription
		answer       func() (retry bool, err error)
	}{
		{common.Subscription{Topic: "orders", Route: "/orders"}, nil},
		{common.Subscription{Topic: "routed", Route: "/special", Match: `event.type == "special"`, Priority: 1}, nil},
		{common.Subscription{Topic: "routed", Route: "/ordinary"}, nil},
		{common.Subscription{Topic: "raw", Route: "/raw", Metadata: map[string]string{"rawPayload": "true"}}, nil},
		{common.Subscription{Topic: "again", Route: "/again"}, func() (bool, error) {
			if failed {
				return false, nil
			}
			failed = true
			return true, errors.New("not now")
		}},
		{common.Subscription{Topic: "refused", Route: "/refused", DeadLetterTopic: "dead"}, func() (bool, error) {
			return false, errors.New("never")
		}},
		{common.Subscription{Topic: "dead", Route: "/dead", DisableTopicValidation: true}, nil},
		{common.Subscription{Topic: "many", Route: "/many"}, nil},
	}
	for _, handler := range handlers {
		subscription, answer := handler.subscription, handler.answer
		subscription.PubsubName = "pubsub"
		check(service.AddTopicEventHandler(&subscription, func(_ context.Context, e *common.TopicEvent) (bool, error) {
			told(strings.TrimPrefix(subscription.Route, "/"), e)
			if answer == nil {
				return false, nil
			}
			return answer()
		}))
	}
	check(service.Start())
}

func stream() {
	dapr, err := client.NewClient()
	check(err)
	defer dapr.Close()
	ctx := context.Background()
	dead := "dead"
	received := func(handler string) client.SubscriptionHandleFunction {
		return func(e *common.TopicEvent) common.SubscriptionResponseStatus {
			told(handler, e)
			if handler == "handled" && e.Data == "drop" {
				return common.SubscriptionResponseStatusDrop
			}
			return common.SubscriptionResponseStatusSuccess
		}
	}
	options := client.SubscriptionOptions{PubsubName: "pubsub", Topic: "handled", DeadLetterTopic: &dead}
	closeHandled, err := dapr.SubscribeWithHandler(ctx, options, received("handled"))
	check(err)
	options = client.SubscriptionOptions{PubsubName: "pubsub", Topic: "dead"}
	closeDead, err := dapr.SubscribeWithHandler(ctx, options, received("dead"))
	check(err)
	iterated, err := dapr.Subscribe(ctx, client.SubscriptionOptions{PubsubName: "pubsub", Topic: "iterated"})
	check(err)
	tell(facts{"handler": "ready"})
	for failed := false; ; {
		message, err := iterated.Receive()
		check(err)
		told("iterated", message.TopicEvent)
		if !failed {
			failed = true
			check(message.Retry())
			continue
		}
		check(message.Success())
		if message.Data == "last" {
			break
		}
	}
	fmt.Scanln()
	check(iterated.Close())
	check(closeHandled())
	check(closeDead())
	tell(facts{"handler": "closed"})
}
